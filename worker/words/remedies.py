"""How a reader does what a message asks for: by a command, or on a page of the console."""

from worker.words import ENGLISH, N_, Skin

# By the name that messages have for it: the command, and what to do in the console.
_REMEDIES = {
    "order": ("`reconciler order REF`", N_("the order's page")),
    "resolve": (
        "`reconciler resolve REF --state succeeded|failed`",
        N_("use “Settle by hand” on the order's page"),
    ),
    "dismiss": ("`reconciler dismiss REF`", N_("use “Dismiss the attention” on the order's page")),
    "reopen": ("`reconciler reopen REF`", N_("use “Reopen” on the order's page")),
    "start": ("start one with `reconciler run`", N_("have the administrator start one")),
    "queries": ("`reconciler queries --account ACCOUNT`", N_("the list of queries")),
    "resume": ("`reconciler resume ACCOUNT`", N_("use “Resume queries”")),
    "notifications": ("`reconciler notifications --account ACCOUNT`", N_("the list of notifications")),
    "resume_notifications": ("`reconciler notifications --resume ACCOUNT`", N_("use “Resume notifications”")),
    "forget": ("`reconciler notifications --forget ACCOUNT`", N_("use “Forget the endpoint”")),
    "resend": ("`reconciler resend REF`", N_("use “Resend” on the order's page")),
    "resend_given_up": ("`reconciler resend --gave-up`", N_("use “Resend what was given up”")),
    "rejected": ("`reconciler rejected ID`", N_("the page of the row")),
    "retry": ("`reconciler rejected --retry ID`", N_("use “Retry refused input” on the page of the row")),
    "unmatched": ("`reconciler unmatched`", N_("the list of unmatched callbacks")),
}
COMMANDS = {name: command for name, (command, _) in _REMEDIES.items()}
PAGES = {name: page for name, (_, page) in _REMEDIES.items()}

COMMAND_LINE = Skin(translate=ENGLISH.translate, remedies=COMMANDS)
