"""The hosted payment page: show, choose a way to pay, confirm, follow.  The token in its address is the buyer's key to it.

No card number reaches this process: the fields live on the PSP's origin, in an iframe or on its own page.  The views parse, make one call
and render; what the PSP cannot do at the moment becomes a page that says so, and that nothing was charged.  Every press works without a
script (post, redirect, get) and answers a script in JSON.
"""
