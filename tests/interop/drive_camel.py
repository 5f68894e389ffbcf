"""Calls of Camel, the mail engine of Evolution: see remote.py. The argument is its settings as
JSON. Runs with the system's Python, which has the package python3-gi."""
import glob
import json
import os
import sys
import time

os.environ.setdefault("GIO_USE_NETWORK_MONITOR", "base")  # else it is offline without a network
import gi  # noqa: E402

gi.require_version("Camel", "1.2")
from gi.repository import Camel, Gio, GLib  # noqa: E402

SETTINGS = json.loads(sys.argv[1])
SECURITY = {"imap": Camel.NetworkSecurityMethod.STARTTLS_ON_STANDARD_PORT,
            "imaps": Camel.NetworkSecurityMethod.SSL_ON_ALTERNATE_PORT}
FLAGS = {"\\Seen": Camel.MessageFlags.SEEN, "\\Flagged": Camel.MessageFlags.FLAGGED,
         "\\Answered": Camel.MessageFlags.ANSWERED, "\\Deleted": Camel.MessageFlags.DELETED}


class Session(Camel.Session):
    def do_authenticate_sync(self, service, mechanism, _):
        service.set_password(SETTINGS["passphrase"])
        return service.authenticate_sync(mechanism, None) == Camel.AuthenticationResult.ACCEPTED

    def do_trust_prompt(self, *_):
        return Camel.CertTrust.FULLY

    def do_get_filter_driver(self, *_):
        return None


class Calls:
    """The methods that a test calls. `rows`: what Evolution shows of each open folder, by UID; only
    the signal "changed" changes it."""

    def __init__(self, folder):
        self._folder, self._folders, self._rows = folder, {}, {}
        Camel.init(folder + "/certificates", True)
        Camel.provider_init()
        session = Session(user_data_dir=folder + "/data", user_cache_dir=folder + "/cache")
        session.set_online(True)
        self._session = session
        self._store = session.add_service("one", "imapx", Camel.ProviderType.STORE)
        settings = self._store.ref_settings()
        for name, value in (("host", SETTINGS["host"]), ("port", SETTINGS["port"]),
                            ("user", SETTINGS["user"]), ("use-qresync", SETTINGS["qresync"]),
                            ("security-method", SECURITY[SETTINGS["service"]])):
            settings.set_property(name, value)
        self._store.set_online_sync(True, None)
        self._store.connect_sync(None)
        self._store.get_folder_info_sync(None, Camel.StoreGetFolderInfoFlags.RECURSIVE, None)

    def open(self, name):
        folder = self._folders[name] = self._store.get_folder_sync(name, 0, None)
        rows = self._rows[name] = set()

        def changed(_, changes):
            rows.update(changes.get_added_uids())
            rows.difference_update(changes.get_removed_uids())
        folder.connect("changed", changed)
        folder.refresh_info_sync(None)
        return True

    def rows(self, name, seconds=0.0):
        """[[UID, subject, flags]] after so many seconds."""
        end = time.monotonic() + seconds
        while GLib.MainContext.default().iteration(False) or time.monotonic() < end:
            time.sleep(0.005)
        return [[uid] + self._row(self._folders[name], uid)
                for uid in sorted(self._rows[name], key=int)]

    @staticmethod
    def _row(folder, uid):
        info = folder.get_message_info(uid)
        if info is None:
            return [None, []]
        return [info.get_subject(), [name for name in FLAGS if info.get_flags() & FLAGS[name]]]

    def read(self, name, uid):
        """The octets that it keeps for reading offline."""
        self._folders[name].synchronize_message_sync(uid, None)
        [path] = glob.glob("%s/cache/one/folders/%s/cur/*/%s" % (self._folder, name, uid))
        with open(path, "rb") as file:
            return file.read().decode("latin-1")

    def set_flag(self, name, uid, flag):
        info = self._folders[name].get_message_info(uid)
        if flag in FLAGS:
            info.set_flags(FLAGS[flag], FLAGS[flag])
        else:
            info.set_user_flag(flag, True)
        self._folders[name].synchronize_sync(False, None)
        return True

    def append(self, name, text):
        message, octets = Camel.MimeMessage(), GLib.Bytes.new(text.encode("latin-1"))
        message.construct_from_input_stream_sync(Gio.MemoryInputStream.new_from_bytes(octets), None)
        info = Camel.MessageInfo.new(None)
        info.set_flags(Camel.MessageFlags.SEEN, Camel.MessageFlags.SEEN)
        return self._folders[name].append_message_sync(message, info, None)[0]

    def transfer(self, name, uids, target, delete):
        self._folders[name].transfer_messages_to_sync(uids, self._folders[target], delete, None)
        return True

    def expunge(self, name):
        return self._folders[name].synchronize_sync(True, None)

    def refresh(self, name):
        return self._folders[name].refresh_info_sync(None)

    def create(self, parent, name):
        self._store.create_folder_sync(parent, name, None)
        return True

    def rename(self, old, new):
        return self._store.rename_folder_sync(old, new, None)

    def online(self, is_online):
        return self._store.set_online_sync(is_online, None)


calls = Calls(SETTINGS["folder"])
for line in sys.stdin:
    method, *arguments = json.loads(line)
    try:
        result = getattr(calls, method)(*arguments)
    except (GLib.Error, ValueError) as error:
        result = {"error": str(error)}
    print(json.dumps(result), flush=True)
