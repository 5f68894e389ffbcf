"""Types of `phenmail_protocols.testing` (PEP 561).

The fixture `mail_server` is a MailFixture; `make_mail_server` is a MailFixtureMaker, a name for
type checkers only.
"""
from email.message import EmailMessage
from types import TracebackType
from typing import Any, Dict, List, Mapping, Optional, Protocol, Sequence, Tuple, Type, Union

from phenmail import AnyMessage, AnyPlugin, MailServer

class MailFixture:
    users: Dict[str, str]
    server: MailServer
    certificate: Optional[str]
    # (host, port).  If `settings` disabled the service it is None, which the types leave out: a
    # test that disables a service does not use it.
    smtp: Tuple[str, int]
    submission: Tuple[str, int]
    submissions: Tuple[str, int]
    imap: Tuple[str, int]
    imaps: Tuple[str, int]
    pop3: Tuple[str, int]
    pop3s: Tuple[str, int]
    def __init__(self, users: Optional[Mapping[str, str]] = ...,
                 settings: Optional[Mapping[str, Any]] = ...,
                 plugins: Optional[Mapping[str, AnyPlugin]] = ...,
                 keys: Optional[str] = ...) -> None: ...
    def __enter__(self) -> MailFixture: ...
    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None: ...
    def stop(self) -> None: ...
    def address(self, service: str) -> Optional[Tuple[str, int]]: ...
    def deliver(self, message: AnyMessage, to: Optional[Union[str, Sequence[str]]] = ...,
                sender: str = ...) -> None: ...
    def messages(self, address: Optional[str] = ..., mailbox: str = ...) -> List[EmailMessage]: ...
    def wait_for(self, count: int = ..., address: Optional[str] = ..., mailbox: str = ...,
                 timeout: float = ...) -> List[EmailMessage]: ...
    @property
    def sent(self) -> List[Sent]: ...
    def wait_for_sent(self, count: int = ..., timeout: float = ...) -> List[Sent]: ...
    def fail_next(self, count: int = ..., at: str = ...) -> None: ...
    def drop_after(self, octets: int, side: str = ..., connections: int = ...,
                   service: Optional[str] = ...) -> None: ...
    def slow(self, seconds: float, octets: int = ..., service: Optional[str] = ...) -> None: ...
    def cut(self, service: Optional[str] = ...) -> None: ...
    def outside_answers(self, address: str, reply: Optional[str]) -> None: ...
    def heal(self) -> None: ...

class Sent:
    sender: str
    recipients: Tuple[str, ...]
    data: bytes
    message: EmailMessage
    def __init__(self, caught: Tuple[str, Tuple[str, ...], bytes]) -> None: ...

class MailFixtureMaker(Protocol):
    def __call__(self, users: Optional[Mapping[str, str]] = ...,
                 settings: Optional[Mapping[str, Any]] = ...,
                 plugins: Optional[Mapping[str, AnyPlugin]] = ...) -> MailFixture: ...
