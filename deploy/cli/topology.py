"""`crossdock topology`: exchanges and queues."""

import typer

from deploy.cli.shared import AsJson, State, amqp_url, die, failing, print_json, run

app = typer.Typer(help="Exchanges and queues.", no_args_is_help=True)


@app.command()
@failing
def apply(state: State = None) -> None:
    """Declares what is missing. Safe to repeat."""
    from broker import topology

    run(topology.apply(amqp_url(state)))
    typer.echo("exchanges, queues and bindings are there")


@app.command()
@failing
def check(state: State = None, as_json: AsJson = False) -> None:
    """What is missing or different on the broker. Exit code 1 if anything is."""
    from broker import topology

    problems = run(topology.check(amqp_url(state)))
    if as_json:
        print_json({"problems": problems})
    elif not problems:
        typer.echo("exchanges and queues are as they should be")
    if problems:
        if as_json:
            raise typer.Exit(1)
        die("; ".join(problems))


@app.command()
@failing
def export(vhost: str = typer.Option("/", help="Virtual host to write into the definitions.")) -> None:
    """RabbitMQ definitions as JSON, for `rabbitmqctl import_definitions`."""
    from broker import topology

    print_json(topology.export(vhost))
