// Package action is what a transition does outside the process: it runs hooks
// and sends notices. It decides nothing about health or duty; failover does,
// and hands each [failover.Transition] over to both halves, which never make
// it wait and never wait for each other.
//
//	hooks := action.NewHooks(action.HookOptions{Timeout: time.Minute, Log: log, Ended: acted})
//	notices, err := action.NewNotices("server-02", log)
//	routes, err := action.MailRoutes(mailConfig)
//	notices.Use(routes)
//	…
//	group.Go(func() error { return hooks.Run(hooksCtx) })
//	group.Go(func() error { return notices.Run(noticesCtx) })
//	…
//	hooks.Enqueue(action.Hook{Transition: t, Command: onActivate})
//	notices.Notify(t)
//
// To stop, enqueue the hooks of the shutdown, call [Hooks.Drain] with the time
// they may take, then cancel the contexts of both Runs. The hooks' context must
// therefore outlive the one that the signal cancels.
//
// # Hooks
//
// Each alias has two lanes, one for its health and one for its activity. A lane
// runs one hook at a time, in order, and keeps at most one waiting:
//
//	           Enqueue                     Enqueue
//	┌──────┐ ──────────► ┌─────────┐ ──────────────► ┌───────────────────┐ ─┐ Enqueue: the one
//	│ idle │             │ running │                 │ running + waiting │  │ that waited ends
//	└──────┘ ◄────────── └─────────┘ ◄────────────── └───────────────────┘ ◄┘ as superseded
//	           it ended               it ended: its end is recorded,
//	                                  the waiting one starts
//
// A running hook is never interrupted by a newer one: half a detach followed by
// an attach leaves a state that neither script was written for. A waiting one
// is replaced, because only the newest state is worth reaching. Two lanes on
// different aliases, or of different kinds, run at the same time, so a health
// hook that hangs does not hold up the one that moves the address.
//
// Every hook that is enqueued has exactly one end: ok, failed, timed out or
// superseded. Hooks are run at least once for a state and have to be
// idempotent: after a crash of the daemon the same transition may come again
// under the same number.
//
// A command is an argument vector; no shell sees it. What a hook gets, and what
// is refused, is said at [NewHooks].
//
// # Notices
//
// Each destination has a line of its own: at most 1,000 notices, sent in order,
// tried again after 1 s, 2 s, 4 s … 1 min with jitter, and dropped with a log
// line after an hour. The lines are separate so that one full mailbox, or one
// server that hangs, does not keep the news from everybody else. Use changes the
// destinations while Run runs; what waits for one that stays is kept.
//
// For mail each recipient is a destination. An answer of 5xx to the message itself
// (MAIL, RCPT, DATA) is final, as it is for every mail server, and the notice is
// dropped with a log line; whatever goes wrong before (no connection, greeting,
// STARTTLS, AUTH) is tried again, because an operator may mend it within the
// hour and no mail was refused yet.
//
// # TLS
//
// To a mail server STARTTLS is used when it is offered. What is verified:
//
//   - Without an account nothing is: whoever can sit between us and the server
//     could as well strip the offer of STARTTLS, so a certificate that must
//     verify would keep mail from the relays that have none and protect nobody.
//     The mail is hidden from those who only listen.
//   - With an account, and a server that is not on this host's loopback, the
//     certificate has to be valid for the configured host (system roots, or
//     SSL_CERT_FILE), since the password is worth more than the mail. Without
//     STARTTLS only mechanisms that do not show the password are used
//     (SCRAM-SHA-256, SCRAM-SHA-1, CRAM-MD5).
//   - On loopback nobody is in between: nothing is verified and PLAIN is fine.
//   - TLSRequired and TLSImplicit hand nothing over without TLS and verify it
//     always, also on loopback. So does what TLS there is when Roots are given.
//
// A webhook by https is always verified. A redirect is not followed: it would
// carry the secrets, and the news, to where nobody has sent them.
//
// # Webhooks
//
// The answer to a post: 2xx is a success. 408, 429 and 5xx are tried again, after
// Retry-After if that is there; so is whatever gives no answer. The other 4xx,
// 301 and 308 are final. No more of an answer than its head and 4 KiB is read.
package action
