"""The protocols whose checks can be judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tss.cggmp24 import aux_info as aux_protocol
from tss.cggmp24 import keygen as keygen_protocol
from tss.cggmp24 import presign as presign_protocol
from tss.cggmp24 import recover as recover_protocol
from tss.cggmp24 import refresh as refresh_protocol
from tss.cggmp24 import reshare as reshare_protocol
from tss.cggmp24 import sign as sign_protocol
from tss.frost import dkg as frost_keygen_protocol
from tss.frost import sign as frost_sign_protocol
from tss.judge import aux_info, frost, identification, keygen, presign, recover, refresh, reshare, signing
from tss.judge.reader import Reader

_PRESIGN_STEPS: Final = {**presign.STEPS, **identification.STEPS}

READERS: Final[Mapping[str, Reader]] = {
    keygen_protocol.KIND: keygen.READER,
    aux_protocol.KIND: aux_info.READER,
    refresh_protocol.KIND: refresh.READER,
    reshare_protocol.KIND: reshare.READER,
    recover_protocol.KIND: recover.READER,
    presign_protocol.KIND: Reader(presign.rounds, _PRESIGN_STEPS),
    presign_protocol.FULL_KIND: Reader(presign.rounds, {**_PRESIGN_STEPS, **signing.FULL_STEPS}),
    sign_protocol.KIND: signing.READER,
    frost_keygen_protocol.KIND: frost.KEYGEN,
    frost_sign_protocol.PREPARE_KIND: frost.PREPARE,
    frost_sign_protocol.FULL_KIND: frost.FULL_SIGN,
    frost_sign_protocol.KIND: frost.SIGN,
}
"""By kind of session."""
