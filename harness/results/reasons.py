"""Why a remote store refused: the errors of fsspec, s3fs and botocore as one line that says what to do.

They are told apart by the server's code and by the names of their classes, so that no client has to be imported.
"""

from __future__ import annotations

import re

_LENGTH = 200
# Server's codes and classes' names; what is said; what to do where the store is S3. The first row that fits is taken.
_REASONS: tuple[tuple[frozenset[str], str, str], ...] = (
    (
        frozenset({"NoSuchBucket"}),
        "there is no such bucket",
        "create it or correct the URL (and AWS_ENDPOINT_URL_S3, if the bucket is not at AWS)",
    ),
    (
        frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}),
        "the credentials are not accepted",
        "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or AWS_PROFILE",
    ),
    (
        frozenset({"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}),
        "no credentials were found",
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    ),
    (
        frozenset({"RequestTimeTooSkewed"}),
        "the clocks of this machine and of the server differ too much",
        "set this machine's clock",
    ),
    (
        frozenset({"PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}),
        "the bucket is in another region",
        "set AWS_DEFAULT_REGION to it",
    ),
    (
        frozenset({"AccessDenied", "AllAccessDisabled", "403", "PermissionError"}),
        "access denied",
        "allow s3:ListBucket, s3:GetObject and s3:PutObject, and s3:DeleteObject for '.probe-*'",
    ),
    (
        frozenset({"ConnectTimeoutError", "ReadTimeoutError", "ConnectionError", "HTTPClientError", "TimeoutError"}),
        "the server does not answer",
        "check the network and AWS_ENDPOINT_URL_S3",
    ),
    (
        frozenset({"ResponseParserError", "MethodNotAllowed", "405", "NotImplemented", "501", "404"}),
        "the server does not take such calls",
        "check AWS_ENDPOINT_URL_S3",
    ),
    (
        frozenset({"SlowDown", "ServiceUnavailable", "InternalError", "500", "503"}),
        "the server has a problem of its own or is busy",
        "try again later",
    ),
    (frozenset({"NotImplementedError"}), "it can only be read", ""),
    (frozenset({"FileExistsError", "NotADirectoryError"}), "there is a file where a folder should be", ""),
)


def reason_of(error: BaseException, *, s3: bool) -> str:
    """One line on why a client raised ``error``, without credentials; with what to do, where the store is S3."""
    names = {code_of(error), *(kind.__name__ for kind in type(error).__mro__)}
    for known, said, advice in _REASONS:
        if known & names:
            return f"{said}; {advice}" if s3 and advice else said
    return masked(f"{type(error).__name__}: {' '.join(str(error).split())[:_LENGTH]}").removesuffix(": ")


def code_of(error: BaseException | None) -> str:
    """The server's code for an error, like ``NoSuchBucket`` or ``404``, or an empty text; s3fs keeps it as cause."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
            return str(response.get("Error", {}).get("Code") or status)
        error = error.__cause__
    return ""


def masked(text: str) -> str:
    """``text`` without user, password and query of the URLs in it; errors quote endpoints, which may hold them."""
    return re.sub(r"\?[^\s\"']*", "?***", re.sub(r"//[^\s/@\"']*@", "//***@", text))
