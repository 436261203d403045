"""The phases of an exchange, and what leads from one to the next.

HEADERS     --request_headers--> IDENTIFYING | BODY | ADMITTING | HELD | DONE
IDENTIFYING --identified-------> IDENTIFYING | BODY | ADMITTING | HELD
IDENTIFYING --user_found-------> BODY
BODY        --request_body-----> UNPACKING | ADMITTING | HELD
UNPACKING   --unpacked---------> ADMITTING | HELD
any of these --no pod yet------> HOLDING
HOLDING     --resumed----------> ADMITTING | HELD | WAITING
ADMITTING   --admitted---------> HELD | WAITING
WAITING     --resumed----------> HELD
any         --refused, failed, end--> DONE, and whatever was booked is given back
"""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """Where an exchange stands."""

    HEADERS = "headers"
    IDENTIFYING = "identifying"
    BODY = "body"
    UNPACKING = "unpacking"
    ADMITTING = "admitting"
    WAITING = "waiting"
    HOLDING = "holding"
    HELD = "held"
    DONE = "done"


# In Python 3.11 an attribute of an Enum costs ten times as much as a global, and these are asked for all the time.
HEADERS, IDENTIFYING, BODY, UNPACKING = Phase.HEADERS, Phase.IDENTIFYING, Phase.BODY, Phase.UNPACKING
ADMITTING, WAITING, HELD, DONE = Phase.ADMITTING, Phase.WAITING, Phase.HELD, Phase.DONE
HOLDING = Phase.HOLDING
