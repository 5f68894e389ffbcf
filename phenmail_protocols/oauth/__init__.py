"""OAuth2 as client: access tokens for other servers instead of passphrases.

`device_flow` and `code_flow` get the first tokens: the user agrees on the provider's page.
`token_store` keeps them and refreshes them; `sasl` has the responses with which a client logs in.
What a login needs is a config.settings.OAuth2. RFC 6749, RFC 6750, RFC 7636, RFC 8252, RFC 8628.

Tokens are never in a log, an error or an exception.
"""
