"""The codes of errors and failed checks, as docs/errors.md lists them: what each means, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Scope = Literal["everything", "restaurant", "week"]
"""What a cause concerns. ``everything``: no week works while it lasts, such as a refused login, so any week that works
shows that it is gone. ``restaurant``: the same, for one restaurant. ``week``: data of one week, such as a damaged
object, so only success with this week shows that it is gone."""


@dataclass(frozen=True)
class Code:
    """A code that stays: what it ``means``, what to do (``action``), and what it concerns."""

    name: str
    means: str
    action: str
    scope: Scope = "everything"


AREAS: Mapping[str, Sequence[Code]] = {
    "Toast": (
        Code(
            "TOAST-LOGIN",
            "Toast refused the credentials.",
            "Copy TOAST_CLIENT_ID and TOAST_CLIENT_SECRET again from Toast Web (Integrations, API access), and check"
            " that TOAST_API_URL is the environment that issued them. Run `toast-assets doctor`.",
        ),
        Code(
            "TOAST-TOKEN",
            "The answer to a login holds no token that can be used.",
            "Check that TOAST_API_URL is Toast's API and that no proxy answers with a page of its own.",
        ),
        Code(
            "TOAST-UNREACHABLE",
            "No connection to Toast, by a cause that does not pass by itself: a name, a certificate, a proxy.",
            "Fix what the message names: TOAST_API_URL, HTTPS_PROXY, NO_PROXY or SSL_CERT_FILE. Run `toast-assets"
            " doctor` on the machine of the runs.",
        ),
        Code(
            "TOAST-UNAVAILABLE",
            "Toast answered 429 or 5xx, timed out or broke connections until the retries were used up.",
            "Look at Toast's status page and materialize the week again once Toast is back: only what is missing is"
            " asked for. After many 429s, lower TOAST_REQUESTS_PER_SECOND or stop other programs with the same client.",
        ),
        Code(
            "TOAST-DISCOVERY",
            "With TOAST_RESTAURANT_GUID=*, Toast lists no restaurant for these credentials.",
            "Set TOAST_MEMBER_RESTAURANT_GUID to one restaurant of the management group, or list the GUIDs in"
            " TOAST_RESTAURANT_GUID.",
        ),
        Code(
            "TOAST-400",
            "Toast calls a request malformed.",
            "Compare the restaurant's GUID in TOAST_RESTAURANT_GUID with Toast Web. If it is right, send Toast's"
            " support the request id in the message.",
            "restaurant",
        ),
        Code(
            "TOAST-401",
            "Toast accepts the credentials, but refuses the token for this call, a new one as well.",
            "Ask Toast's support which restaurants and scopes the API client has.",
            "restaurant",
        ),
        Code(
            "TOAST-403-RESTAURANT",
            "The API client has no access to this restaurant.",
            "Ask Toast, or the restaurant in Toast Web, to give the API client access; or remove the GUID from"
            " TOAST_RESTAURANT_GUID. If all restaurants have this code, ask Toast whether the client has the scope"
            " `orders:read`.",
            "restaurant",
        ),
        Code(
            "TOAST-403-SCOPE",
            "The token lacks the scope that the message names, so Toast refuses the call for every restaurant.",
            "Ask Toast to add the scope to the API client, then materialize the week again. `toast-assets doctor` lists"
            " the scopes.",
        ),
        Code(
            "TOAST-403-CONFIG",
            "The API client may not read the restaurant's configuration, so names are missing.",
            "Ask Toast to add the scope `config:read`, then materialize the week again; or set TOAST_NAMES=off.",
            "restaurant",
        ),
        Code(
            "TOAST-404-RESTAURANT",
            "Toast does not know this restaurant.",
            "Compare its GUID in TOAST_RESTAURANT_GUID with Toast Web, and remove it if the restaurant is deleted. If"
            " no restaurant is known, check TOAST_API_URL.",
            "restaurant",
        ),
        Code(
            "TOAST-409-CONFIG",
            "The restaurant published its configuration again and again while it was read.",
            "Materialize the week again later.",
            "week",
        ),
        Code(
            "TOAST-LIST",
            "Toast refuses the list of a business day's orders or payments, so there is no census.",
            "Ask Toast to allow GET /orders/v2/orders and /orders/v2/payments, or set TOAST_CENSUS=off. Orders are"
            " pulled all the same.",
            "restaurant",
        ),
        Code(
            "TOAST-REFUSED",
            "The answer has a status that Toast does not document.",
            "Check TOAST_API_URL, and whether a proxy answered in Toast's place. Otherwise send Toast's support the"
            " request id in the message.",
        ),
        Code(
            "TOAST-REPLY",
            "Toast answered 200 with a body that cannot be read, several times.",
            "Materialize the week again. If it lasts, check for a proxy that changes replies, then send the message to"
            " Toast's support.",
            "week",
        ),
        Code(
            "TOAST-INCOMPLETE",
            "Toast's replies contradict each other, so a restaurant's week could not be proved complete. Nothing of it"
            " was stored.",
            "Materialize the week again. If it lasts, send Toast's support the window in the message.",
            "week",
        ),
        Code(
            "TOAST-BUDGET",
            "All requests that a probe may send for one restaurant are used up.",
            "Probe a restaurant or a week with fewer orders (`--restaurant`, `--week`).",
            "restaurant",
        ),
    ),
    "Amperity": (
        Code(
            "AMPERITY-401",
            "Amperity does not accept the API key.",
            "Make a new key and set AMPERITY_API_KEY, or set AMPERITY_CLIENT_ID and AMPERITY_CLIENT_SECRET, which renew"
            " it.",
        ),
        Code(
            "AMPERITY-403",
            "The API key may not write to this tenant.",
            "Check AMPERITY_TENANT_ID, and give the key Streaming Ingest Write Access in Amperity.",
        ),
        Code(
            "AMPERITY-404",
            "Amperity does not know the address.",
            "Check AMPERITY_API_URL and AMPERITY_STREAM_ID.",
        ),
        Code(
            "AMPERITY-REFUSED",
            "The answer is not one of Amperity's.",
            "Check AMPERITY_API_URL, and for a proxy that answers in Amperity's place or removes Content-Length.",
        ),
        Code(
            "AMPERITY-TOKEN",
            "Amperity gives no token for the client credentials.",
            "Check AMPERITY_CLIENT_ID, AMPERITY_CLIENT_SECRET and AMPERITY_TENANT_ID.",
        ),
        Code(
            "AMPERITY-UNREACHABLE",
            "No connection to Amperity, by a cause that does not pass by itself: a name, a certificate, a proxy.",
            "Fix what the message names: AMPERITY_TENANT_ID, AMPERITY_API_URL, HTTPS_PROXY, NO_PROXY or SSL_CERT_FILE."
            " Run `toast-assets doctor` on the machine of the runs.",
        ),
        Code(
            "AMPERITY-UNAVAILABLE",
            "Amperity answered 429 or 5xx or timed out until the retries were used up.",
            "Materialize `amperity_delivery` again once Amperity is back: only what has no answer is sent.",
        ),
        Code(
            "AMPERITY-PENDING",
            "Records of the week have no answer from Amperity.",
            "Materialize `amperity_delivery` for the week again: only these are sent.",
            "week",
        ),
        Code(
            "AMPERITY-REJECTS",
            "Amperity refused more records than AMPERITY_MAX_REJECT_SHARE allows.",
            "Read the reasons in the week's rejects and fix the cause, then run `toast-assets replay-rejects`.",
            "week",
        ),
        Code(
            "AMPERITY-WORKFLOW",
            "Amperity's workflow did not load all files of the week, or is still running.",
            "Open the run in Amperity and fix its cause, then materialize `amperity_delivery` again: it follows a run"
            " that is under way (AMPERITY_WORKFLOW_TIMEOUT_SECONDS) and starts one that failed.",
            "week",
        ),
        Code(
            "AMPERITY-CONTROL",
            "Amperity's control plane refuses to start or to show the workflow.",
            "Check AMPERITY_WORKFLOW_CONFIG_ID and AMPERITY_CONTROL_URL, and give the key the role DataGrid Operator.",
        ),
    ),
    "S3": (
        Code(
            "STORE-BUCKET",
            "The bucket does not exist.",
            "Check S3_BUCKET_NAME, or create the bucket: the pipeline never does.",
        ),
        Code(
            "STORE-ACCESS",
            "S3 refuses a call for lack of permission.",
            "Allow what the message names; compare the role's policy with deploy/aws/pipeline-policy.json. Run"
            " `toast-assets doctor`.",
        ),
        Code(
            "STORE-CREDENTIALS",
            "AWS credentials are missing, malformed or expired.",
            "Give the run a role, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; renew a session"
            " token (`aws sso login`).",
        ),
        Code(
            "STORE-ENDPOINT",
            "The region or the endpoint is not the bucket's, or what answers there is not S3.",
            "Set AWS_DEFAULT_REGION to the bucket's region, and check AWS_ENDPOINT_URL_S3 and the proxies before it.",
        ),
        Code(
            "STORE-SDK",
            "The AWS SDK cannot use a variable or a file of its configuration.",
            "Correct the variable or the file that the message names.",
        ),
        Code(
            "STORE-UNREACHABLE",
            "No connection to S3.",
            "Fix what the message names: AWS_ENDPOINT_URL_S3, HTTPS_PROXY, NO_PROXY, AWS_CA_BUNDLE or the network.",
        ),
        Code(
            "STORE-UNAVAILABLE",
            "S3 is overloaded or down, or objects broke off while they were read, several times in a row.",
            "Run again later: nothing is lost. If it lasts, look at the service's status page, and at the network.",
        ),
        Code(
            "STORE-KMS",
            "The bucket's key (KMS) cannot be used.",
            "Enable the key, and allow the run's role kms:GenerateDataKey and kms:Decrypt"
            " (deploy/aws/kms-policy.json).",
        ),
        Code(
            "STORE-FULL",
            "The bucket's quota or the service's disks are full.",
            "Make room, raise the quota, or remove old weeks with `toast-assets retention`.",
        ),
        Code(
            "STORE-LOCKED",
            "Object Lock keeps the bucket's objects from being replaced.",
            "Take the default retention off the bucket, or use a bucket without Object Lock.",
        ),
        Code(
            "STORE-PUBLIC",
            "The bucket is open to everybody, so no guest's data is stored in it.",
            "Switch on all four settings of the bucket's block of public access.",
        ),
        Code(
            "STORE-CONDITIONS",
            "This S3 ignores conditions on writes, so two runs could overwrite each other's orders.",
            "Use Amazon S3, or a current MinIO or Ceph.",
        ),
        Code(
            "STORE-ARCHIVED",
            "An object is in an archive and cannot be read.",
            "Restore it, and exempt the prefix from the lifecycle rule that archives objects.",
            "week",
        ),
        Code(
            "STORE-DAMAGED",
            "An object does not hold what was stored, or is not one of this package's.",
            "Restore an earlier version of the object that the message names, or do what it says instead; then"
            " materialize the asset for the week again.",
            "week",
        ),
        Code(
            "STORE-CONFLICT",
            "Other runs or programs kept writing the same object.",
            "Run again. If it lasts, find out what else writes to this bucket and prefix.",
            "week",
        ),
        Code(
            "STORE",
            "S3 answered an error that has no code of its own here.",
            "Look up S3's own code, which the message has, in the manual of the service.",
            "week",
        ),
    ),
    "Runs and weeks": (
        Code(
            "SETTINGS",
            "Variables are missing or malformed; the message has a line for each.",
            "Set them in the environment of the run, then check it with `toast-assets doctor`.",
        ),
        Code(
            "WEEK",
            "The partition, or the week given to a command, is not a week of this calendar.",
            "Name a week by its first day, such as 2025-09-15, and one week per run; use a backfill for several.",
            "week",
        ),
        Code(
            "WEEK-OPEN",
            "The week has not closed yet.",
            "Materialize it after the time in the message, or leave it to weekly_toast_orders_sensor.",
            "week",
        ),
        Code(
            "WEEK-NOT-PULLED",
            "Nothing is stored of the week.",
            "Materialize `raw_toast_orders` for the week first.",
            "week",
        ),
        Code(
            "CALENDAR",
            "The settings of the calendar would move the boundaries of stored weeks.",
            "Set TOAST_WEEK_TIMEZONE, TOAST_WEEK_WEEKDAY and TOAST_WEEK_HOUR back, or choose another S3_PREFIX.",
        ),
        Code(
            "BRAND",
            "The bucket's prefix holds the orders of another brand.",
            "Give each brand an S3_BUCKET_NAME or S3_PREFIX of its own. If the brand was renamed, remove the object"
            " that the message names.",
        ),
        Code(
            "RAW-MISMATCH",
            "Raw orders are not those that the week's manifest describes: a run was cut off.",
            "Materialize `raw_toast_orders` for the week again.",
            "week",
        ),
        Code(
            "EXPORT",
            "A restaurant's export is missing, damaged or older than its raw orders.",
            "Materialize `toast_orders_s3_export` for the week.",
            "week",
        ),
        Code(
            "FEEDS",
            "Feed files are missing, older than the raw orders, or made under other privacy rules.",
            "Materialize `amperity_feeds` for the week.",
            "week",
        ),
        Code(
            "RUN",
            "A run ended before any of its steps or checks failed, such as one whose process was killed.",
            "Read the run's page and the log of its process or container. Materialize the week again; it goes on where"
            " the run ended.",
            "week",
        ),
        Code(
            "SEVERAL-CAUSES",
            "Several restaurants failed, and not all by the same cause.",
            "Look up the code at the end of each restaurant's line.",
            "week",
        ),
        Code(
            "MACHINE-MEMORY",
            "The machine, or the run's container, has no memory left.",
            "Give the run more memory, or lower TOAST_CONCURRENT_RESTAURANTS.",
            "week",
        ),
        Code(
            "MACHINE-DISK",
            "There is no room left for temporary files.",
            "Make room, or let TMPDIR name a folder with more of it.",
            "week",
        ),
        Code(
            "MACHINE-TMPDIR",
            "Temporary files cannot be written.",
            "Let TMPDIR name a folder that exists and that the run's user may write.",
        ),
        Code(
            "MACHINE-FILES",
            "Too many files and connections are open at once.",
            "Raise the limit (`ulimit -n`), or lower TOAST_CONCURRENT_RESTAURANTS.",
            "week",
        ),
        Code(
            "MACHINE-THREADS",
            "The machine starts no more threads.",
            "Raise the limit of processes (`ulimit -u`, or the container's PIDs), or lower"
            " TOAST_CONCURRENT_RESTAURANTS.",
            "week",
        ),
        Code(
            "MACHINE-CLOCK",
            "This machine's clock is wrong by the service's.",
            "Set the machine's clock (NTP), then run again.",
        ),
        Code(
            "ALERT",
            "A webhook did not take an alert.",
            "Check ALERT_WEBHOOK_URL with `toast-assets doctor`. The alert is posted again for three days.",
        ),
        Code(
            "TOAST-ASSETS",
            "Something failed that has no code of its own.",
            "Read the message: it names what failed, where, and the way out.",
            "week",
        ),
    ),
    "Guests and tables": (
        Code(
            "GUEST",
            "What was given names no guest; nothing was changed.",
            "Give a GUID, an e-mail or a phone with its country code.",
            "week",
        ),
        Code(
            "GUEST-UNKNOWN",
            "No object in the bucket names the guest; nothing was changed.",
            "Check the spelling. `--allow-unknown` remembers the guest for orders that come later.",
            "week",
        ),
        Code(
            "GUEST-LIST",
            "The list of forgotten guests is gone, although guests were forgotten.",
            "Restore an earlier version of the list: without it, forgotten guests would come back.",
        ),
        Code(
            "TABLE",
            "There is no such table, column or week of a table.",
            "Choose one that the message lists, or materialize the table for the week first.",
            "week",
        ),
    ),
}
"""All codes of errors by what they are about. Those of failed checks come from their names (``check_code``)."""

CODES: Mapping[str, Code] = {code.name: code for codes in AREAS.values() for code in codes}


def scope_of(code: str) -> Scope:
    """What a code concerns; ``week`` for one that is unknown, such as that of another package's error."""
    known = CODES.get(code)
    return known.scope if known else "week"
