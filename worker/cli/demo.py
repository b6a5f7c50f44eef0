"""`reconciler demo`: handed over to `worker.demo`, whose parts are heavy and loaded for this command only."""

import typer


def demo(context: typer.Context) -> None:
    """Watch orders being reconciled: a simulated platform, a real worker and beat, and a summary to check."""
    from worker.cli.group import flowing, listed
    from worker.demo.command import demo as play

    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    alone.command(help=flowing(play.__doc__), epilog=listed("reconciler demo", "reconciler demo --orders 200 --json"))(
        play
    )
    # Not standalone: its usage errors are told like those of every other command.
    status = typer.main.get_command(alone).main(context.args, prog_name="reconciler demo", standalone_mode=False)
    raise typer.Exit(status if isinstance(status, int) else 0)
