"""Installs phenmail: the program, its rooms and the three packages it uses."""

import os

from setuptools import find_packages, setup

HERE = os.path.dirname(os.path.abspath(__file__))


def version():
    """The version, read and not imported."""
    with open(os.path.join(HERE, "phenmail_protocols", "__init__.py"), encoding="utf-8") as file:
        for line in file:
            if line.startswith("__version__"):
                return line.split('"')[1]
    raise RuntimeError("phenmail_protocols/__init__.py names no version")


setup(
    name="phenmail",
    version=version(),
    description="A whole mail server in one Python program",
    author="the phenmail authors",
    license="MIT",
    python_requires=">=3.6",
    py_modules=["phenmail"],
    packages=find_packages(include=["phenmail_protocols", "phenmail_protocols.*"]),
    entry_points={
        "console_scripts": ["phenmail = phenmail:main"],
        "pytest11": ["phenmail = phenmail_protocols.testing"],
    },
    install_requires=["dnspython >= 2.2.1", "dkimpy >= 1.1.5", "jsoncomment >= 0.4.2"],
    extras_require={"ed25519": ["PyNaCl >= 1.5"], "judging": ["pyspf >= 2.0.14"], "idn": ["idna >= 3.7"],
                    "test": ["pytest >= 7.0.1", "hypothesis >= 6.31.6"]},
)
