"""The commands `user add`, `user passwd`, `user del` and `user list`."""
from ..accounts import users
from .terminal import DONE, ask_passphrase


def add(root, options, address):
    return _with_passphrase(users.add_user, root, address)


def passwd(root, options, address):
    return _with_passphrase(users.set_passphrase, root, address)


def _with_passphrase(change, root, address):
    """Call `change` with the passphrase that is typed; an empty one makes it choose one."""
    typed = ask_passphrase()
    passphrase = change(root, address, typed or None)
    print("%s: done" % address if typed
          else "%s: the new passphrase, shown only now: %s" % (address, passphrase))
    return DONE


def delete(root, options, address):
    users.delete_user(root, address)
    print("%s: removed; the mail was kept" % address)
    return DONE


def list_all(root, options):
    for user in users.list_users(root):
        print("%-32s %s" % (user.address, user.ends))
    return DONE
