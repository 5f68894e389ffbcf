"""Plugins: Python objects that receive mail. What they are, and what their answers mean.

A plugin is found by the name in an action (".name parameters"): first among the objects that the
embedding program gave, then in the `plugins` section, then among the built-in ones (`mail`), then
among the entry points `phenmail.plugins` of installed packages. It is an object with

    mail_received(message, origin, parameters)
    start(server)      optional, before the first message; `server` is the MailServer
    stop()             optional, when the server stops; calls that did not return may still run
    concurrent = True  if several threads may be in mail_received at once; default: one at a time
    max_size = 1 << 28 if it accepts messages over 25 MB

or a class of such objects, which is called without arguments, or any callable with the same three
arguments. `message` is an email.message.EmailMessage, `origin` an email_message.Origin,
`parameters` the text after the name. The outcome:

    it returns (not False)    once it returns, the plugin owns the message; the queue forgets it
    False, or any exception   the queue retries, later each time, and at last bounces the message;
                              the sender learns that the plugin failed, the log has the traceback
    PluginRefused(text)       the message bounces at once, with this text

A message may come twice (if the machine fails between the return and the queue's note of it);
`origin.identity` stays the same. The queue's threads call the plugin. Before it answers a sender
automatically, it asks `origin.obstacle()`. `call_limits` bounds the threads that it can block.
"""
