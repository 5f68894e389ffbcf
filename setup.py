"""Installs phenmail: the program, its rooms, its examples and the types of its public names."""

import os

from setuptools import find_packages, setup

HERE = os.path.dirname(os.path.abspath(__file__))
STUBS = "phenmail_protocols/stubs"
EXAMPLES = "phenmail_protocols.conf"  # a folder of files: admin/init.py says where it is


def text(*path):
    """The content of a file of this folder."""
    with open(os.path.join(HERE, *path), encoding="utf-8") as file:
        return file.read()


def version():
    """The version, read and not imported."""
    for line in text("phenmail_protocols", "__init__.py").splitlines():
        if line.startswith("__version__"):
            return line.split('"')[1]
    raise RuntimeError("phenmail_protocols/__init__.py names no version")


setup(
    name="phenmail",
    version=version(),
    description="A whole mail server in one Python program",
    long_description=text("README.txt"),
    long_description_content_type="text/plain",
    author="the phenmail authors",
    license="MIT",
    keywords="mail email smtp lmtp imap pop3 maildir dkim server mta testing pytest",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: No Input/Output (Daemon)",
        "Framework :: Pytest",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "License :: OSI Approved :: MIT License",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
    ] + ["Programming Language :: Python :: 3.%d" % minor for minor in range(6, 14)] + [
        "Programming Language :: Python :: Implementation :: CPython",
        "Topic :: Communications :: Email :: Mail Transport Agents",
        "Topic :: Communications :: Email :: Post-Office :: IMAP",
        "Topic :: Communications :: Email :: Post-Office :: POP3",
        "Topic :: Software Development :: Testing",
        "Typing :: Typed",
    ],
    python_requires=">=3.6",
    py_modules=["phenmail"],
    packages=find_packages(include=["phenmail_protocols", "phenmail_protocols.*"]) + [
        EXAMPLES, "phenmail-stubs", "phenmail_protocols-stubs"],
    package_dir={
        EXAMPLES: "conf",
        "phenmail-stubs": STUBS + "/phenmail-stubs",
        "phenmail_protocols-stubs": STUBS + "/phenmail_protocols-stubs",
    },
    package_data={
        EXAMPLES: ["*/*/*.jcfg", "*/*/*/*.jcfg", "plugins/*.py"],
        "phenmail-stubs": ["*.pyi"],
        "phenmail_protocols-stubs": ["*.pyi", "*/*.pyi", "py.typed"],
    },
    zip_safe=False,
    entry_points={
        "console_scripts": ["phenmail = phenmail:main"],
        "pytest11": ["phenmail = phenmail_protocols.testing"],
    },
    install_requires=["dnspython >= 2.2.1", "dkimpy >= 1.1.5", "jsoncomment >= 0.4.2"],
    extras_require={
        "ed25519": ["PyNaCl >= 1.5"],
        "judging": ["pyspf >= 2.0.14"],
        "idn": ["idna >= 3.7"],
        "test": ["pytest >= 7.0.1", "hypothesis >= 6.31.6"],
    },
)
