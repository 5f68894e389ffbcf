"""The command `dns`: print the DNS records that this server needs, or compare them (--check)."""
from ..config import loader
from ..dkim.signing import Signer
from . import dns_check, dns_records
from .terminal import DONE, FAILED


def run(root, options):
    """With --check, the exit code is FAILED unless every record is OK."""
    settings = loader.load_server(root)
    signer = Signer(settings.relay, lambda: settings.domains, settings.sender_domain)
    wanted = dns_records.domains(settings, signer.public_record())
    if not options.check:
        print(dns_records.as_json(wanted) if options.json
              else dns_records.zone(wanted).rstrip("\n"))
        return DONE
    from ..relay.mx_routes import Routes
    findings = dns_check.check(settings, wanted,
                               Routes(settings.resolver, frozenset, frozenset))
    print(dns_check.as_json(findings) if options.json else dns_check.report(findings))
    return DONE if all(each.state == dns_check.OK for each in findings) else FAILED
