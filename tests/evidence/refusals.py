"""Commands that refuse, run in this process."""

from hypernudge.cli import main


def ended(arguments, capsys, code=2):
    """Run a command; return what it says, which is one line where it refuses."""
    assert main([str(argument) for argument in arguments]) == code
    error = capsys.readouterr().err
    if code == 2:
        assert error.startswith("error: "), error
        assert error.count("\n") == 1, error
        assert "Traceback" not in error
    return error
