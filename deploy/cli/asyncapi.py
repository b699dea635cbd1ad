"""`crossdock asyncapi`: what is on the queues, for programs."""


def asyncapi() -> None:
    """Print the AsyncAPI 3.0 document of the queues as JSON. Needs no broker."""
    from deploy.cli import output
    from schemas.asyncapi.document import document

    output.print_json(document())
