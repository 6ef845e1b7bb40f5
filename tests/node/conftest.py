"""What tests of whole nodes share: a real gateway a module, and a node on it that hears its peers' proposals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from gateway_testing import GatewayProcess, running_gateway
from proposal_testing import Stage, staged


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running_gateway(tmp_path_factory.mktemp("gateway")) as process:
        yield process


@pytest.fixture
async def stage(tmp_path: Path, gateway: GatewayProcess) -> AsyncIterator[Stage]:
    async with staged(tmp_path, gateway.url) as made:
        yield made
