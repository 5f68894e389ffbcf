"""Sends all mail to the configured smarthost, whatever the recipients' domains.

What fails with the smarthost itself (its greeting, TLS, the login) is for the administrator to fix,
so it is always temporary: nothing bounces.

With `require-tls` nothing is sent without TLS, and the certificate must verify (CA store and the
configured name), because TLS is what protects the password. There is one exception: a server at
a loopback, link-local or private address may show any certificate, with a warning in the log. An
attacker in between would be inside the administrator's own network, and public CAs issue no
certificates for such names. A self-signed certificate elsewhere belongs in the system's CA store.

Without `require-tls`, TLS is used if it is offered, not verified, and the login is sent in the
clear if it is not. An access token (OAuth2) is never sent in the clear.
"""
import logging

from .courier import MOST_ADDRESSES, Courier
from .mx_routes import NoRoute
from .smtp_login import NoToken, UpstreamLoginFailed
from .smtp_wire import Unverified, temporary
from .tls_policy import OPPORTUNISTIC, Requirement

log = logging.getLogger("phenmail.relay")


class SmarthostCourier(Courier):
    """`hosted`: settings.Hosted with the password in clear text; `routes`: Routes.for_smarthost;
    `token`: oauth.token_store.TokenSource if it has `provider`."""

    def __init__(self, hosted, routes, helo, token=None, **options):
        super().__init__("the smarthost " + hosted.server, routes, None, helo, port=hosted.port,
                         **options)
        self._hosted = hosted
        self._token = token
        self._has_warned = False

    def _connections(self, failures):
        hosted = self._hosted
        login = None if hosted.username is None else (hosted.username, hosted.password or "")
        options = dict(implicit=hosted.port == 465, login=login, token=self._token,
                       must_login=hosted.require_authentication)
        strict = Requirement(True, True, hosted.server, (), "require-tls of the smarthost")
        try:
            ips = self._routes.addresses(hosted.server, hosted.port).ips[:MOST_ADDRESSES]
        except NoRoute as error:
            failures.append(error)
            return
        for ip in ips:
            known = len(failures)
            requirement = strict if hosted.require_tls else OPPORTUNISTIC
            yield self._connection_to(hosted.server, ip, requirement, **options)
            if (hosted.require_tls and _last_is(failures, known, Unverified)
                    and _is_private(ip)):
                self._warn(ip, failures.pop())
                yield self._connection_to(hosted.server, ip, strict._replace(verify=False),
                                          **options)
            if _last_is(failures, known, UpstreamLoginFailed):
                del failures[:-1]  # this is the one to report
                if isinstance(failures[0], NoToken):
                    log.warning("%s; mail waits", failures[0])
                else:
                    log.error("%s; mail waits until the settings are corrected", failures[0])
                return

    def _warn(self, ip, failure):
        if not self._has_warned:
            self._has_warned = True
            log.warning("%s; using it anyway, because %s is a private address", failure, ip)

    def _verdict(self, failures):
        reply = super()._verdict(failures)
        if not reply.permanent:
            return reply
        return temporary("4" + reply.enhanced[1:], "%s: %d %s %s" % (
            self._destination, reply.code, reply.enhanced, reply.text))


def _last_is(failures, known, kind):
    """Whether the last attempt, made when there were `known` failures, failed in this way."""
    return len(failures) > known and isinstance(failures[-1], kind)


def _is_private(ip):
    """Loopback, link-local, or private (RFC 1918, RFC 4193)."""
    import ipaddress
    address = ipaddress.ip_address(ip.partition("%")[0])
    return address.is_loopback or address.is_link_local or address.is_private
