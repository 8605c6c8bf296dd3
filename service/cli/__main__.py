"""`python -m pareconv.service.cli` is `pareconv`, for where the script is not on the path."""

from pareconv.service.cli.app import main

if __name__ == "__main__":
    main()
