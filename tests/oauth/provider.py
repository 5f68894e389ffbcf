"""An OAuth2 provider on the loopback, for tests of clients (RFC 6749, 7636, 7662, 8628).

    with Provider() as provider:
        oauth2 = provider.oauth2(str(tmp_path))     # a config.settings.OAuth2
        … provider.approve(user_code) … provider.browse(address) … provider.requests …

Refresh tokens rotate: each can be used once. `answers` are given instead of the next ones of an
endpoint: {"/token": [(status, octets)]}, or a callable(handler) that writes what it wants.
"""
import base64
import hashlib
import http.client
import http.server
import json
import os
import socketserver
import threading
from urllib.parse import parse_qsl, urlencode, urlsplit

from phenmail_protocols.config.settings import OAuth2

PATIENCE = 10.0  # seconds
CLIENT, SECRET, USER = "phenmail", "hush", "someone@gmail.example"


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # a client that went away


class Provider(object):
    """`lifetime`: seconds of access tokens; `access`: the valid ones; `refresh`: unused refresh
    tokens; `devices`: {user code: None, or "approved" or an error}; `interval`: of the device flow;
    `requests`: (path, fields) of all; `over`: set it to let those that hang end."""

    def __init__(self, context=None):
        self.lifetime, self.interval, self.expires = 3600, 1, 600
        self.rotates = True
        self.access, self.refresh, self.devices = set(), set(), {}
        self.answers, self.requests = {}, []
        self.over = threading.Event()
        self._codes, self._device_codes = {}, {}
        self._count, self._lock = 0, threading.Lock()
        handler = type("Handler", (_Handler,), {"provider": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.secure = context is not None
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,),
                                        daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)

    def url(self, path):
        return "%s:%d%s" % ("https://localhost" if self.secure else "http://127.0.0.1",
                            self.port, path)

    def options(self, **changes):
        """What "provider" in a configuration has."""
        return dict({"token-endpoint": self.url("/token"), "device-endpoint": self.url("/device"),
                     "authorization-endpoint": self.url("/authorize"), "client-id": CLIENT,
                     "client-secret": SECRET, "scope": "mail offline_access"}, **changes)

    def oauth2(self, folder, **changes):
        """A config.settings.OAuth2, whose tokens lie in `folder`."""
        options = {key.replace("-", "_"): value for key, value in self.options().items()}
        return OAuth2(**dict(options, account="gmail", within=os.path.realpath(folder),
                             tokens=os.path.join(os.path.realpath(folder), "tokens"), **changes))

    def asked(self, path):
        """The fields of all requests to a path."""
        return [fields for where, fields in self.requests if where == path]

    def new_name(self, kind):
        with self._lock:
            self._count += 1
            return "%s-%d" % (kind, self._count)

    # -- what users do

    def approve(self, user_code, how="approved"):
        self.devices[user_code] = how

    def browse(self, address, agree=True):
        """Open the page, agree, and follow the redirection -> (its address, the page there).

        The page is None if the redirection does not lead to this machine.
        """
        status, headers, _ = get(address)
        assert status == 200, "the page %s has status %d" % (address, status)
        fields = dict(parse_qsl(urlsplit(address).query))
        status, headers, _ = get(address + ("&agreed=yes" if agree else "&agreed=no"))
        target = headers["Location"]
        assert status == 302 and target.startswith(fields["redirect_uri"])
        return target, (get(target)[2] if target.startswith("http:") else None)

    # -- endpoints

    def tokens(self):
        """The answer with new tokens."""
        access, again = self.new_name("access"), self.new_name("refresh")
        self.access.add(access)
        values = {"access_token": access, "token_type": "bearer", "expires_in": self.lifetime}
        if self.rotates:
            self.refresh.add(again)
            values["refresh_token"] = again
        return 200, values

    def authorize(self, fields):
        """-> the code."""
        assert fields["response_type"] == "code" and fields["client_id"] == CLIENT
        assert fields["code_challenge_method"] == "S256" and fields["scope"]
        code = self.new_name("code")
        self._codes[code] = fields
        return code

    def device(self, fields):
        if fields.get("client_id") != CLIENT:
            return error("invalid_client")
        code, user_code = self.new_name("device"), self.new_name("USER")
        self._device_codes[code] = user_code
        self.devices.setdefault(user_code, None)
        return 200, {"device_code": code, "user_code": user_code, "interval": self.interval,
                     "expires_in": self.expires, "verification_uri": self.url("/activate")}

    def token(self, fields):
        if (fields.get("client_id"), fields.get("client_secret")) != (CLIENT, SECRET):
            return error("invalid_client", "The client is unknown", 401)
        grant = fields.get("grant_type")
        if grant == "refresh_token":
            with self._lock:
                known = fields["refresh_token"] in self.refresh
                if self.rotates:
                    self.refresh.discard(fields["refresh_token"])
            return self.tokens() if known else error("invalid_grant", "Token was used or revoked")
        if grant == "authorization_code":
            asked = self._codes.pop(fields.get("code"), None)
            digest = hashlib.sha256(fields.get("code_verifier", "").encode()).digest()
            if (asked is None or asked["redirect_uri"] != fields.get("redirect_uri")
                    or base64.urlsafe_b64encode(digest).decode().rstrip("=")
                    != asked["code_challenge"]):
                return error("invalid_grant")
            return self.tokens()
        user_code = self._device_codes.get(fields.get("device_code"))
        if grant != "urn:ietf:params:oauth:grant-type:device_code" or user_code is None:
            return error("unsupported_grant_type")
        state = self.devices[user_code]
        if isinstance(state, list):  # one for each request
            state = state.pop(0) if state else "approved"
        if state == "approved":
            return self.tokens()
        return error(state or "authorization_pending")

    def introspect(self, fields):
        """RFC 7662, for servers that have to know whether a token is valid."""
        valid = fields.get("token") in self.access
        return 200, ({"active": True, "username": USER, "email": USER} if valid
                     else {"active": False})


def error(code, text=None, status=400):
    return status, dict({"error": code}, **({"error_description": text} if text else {}))


class _Handler(http.server.BaseHTTPRequestHandler):
    provider = None
    timeout = PATIENCE

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._handle(urlsplit(self.path).path, dict(parse_qsl(body.decode())))

    def do_GET(self):
        parts = urlsplit(self.path)
        self._handle(parts.path, dict(parse_qsl(parts.query)))

    def _handle(self, path, fields):
        provider = self.provider
        provider.requests.append((path, fields))
        planned = provider.answers.get(path)
        if planned:
            answer = planned.pop(0)
            if callable(answer):
                return answer(self)
            return self.answer(*answer)
        if path == "/authorize":
            return self._page(fields)
        run = {"/token": provider.token, "/device": provider.device,
               "/introspect": provider.introspect}.get(path)
        if run is None:
            return self.answer(404, b"")
        status, values = run(fields)
        self.answer(status, json.dumps(values).encode())

    def _page(self, fields):
        """The page where users agree; the second request redirects."""
        if "agreed" not in fields:
            return self.answer(200, b"Do you agree?")
        values = {"state": fields["state"]}
        if fields["agreed"] == "yes":
            values["code"] = self.provider.authorize(fields)
        else:
            values["error"] = "access_denied"
        self.send_response(302)
        self.send_header("Location", fields["redirect_uri"] + "?" + urlencode(values))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, status, octets, **headers):
        self.send_response(status)
        headers.setdefault("Content-Type", "application/json")
        headers.setdefault("Content-Length", str(len(octets)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(octets)


def hang(handler):
    """An answer that never comes."""
    handler.provider.over.wait(PATIENCE)


def huge(handler):
    """An answer of 10 MB."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(10 * 1024 * 1024))
    handler.end_headers()
    for _ in range(160):
        handler.wfile.write(b"x" * 65536)


def drip(handler):
    """A header that never ends, an octet at a time."""
    try:
        while not handler.provider.over.wait(0.01):
            handler.wfile.write(b"x")
            handler.wfile.flush()
    except OSError:
        pass


def get(address):
    """-> (status, headers, body) of a GET at an http address."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
    try:
        connection.request("GET", (parts.path or "/") + ("?" + parts.query if parts.query else ""))
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()
