"""A passkey in software (WebAuthn Level 3, sections 6.1, 6.5 and 7)."""

import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from secrets import token_bytes
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

# Flags: user present, user verified, attested credential data.
UP, UV, AT = 0x01, 0x04, 0x40


def encode(data: bytes) -> str:
    """Return bytes as Base64 for URLs, without padding."""
    return urlsafe_b64encode(data).decode().rstrip("=")


class Authenticator:
    """A device with one passkey."""

    def __init__(self, host: str = "localhost", origin: str = "http://localhost") -> None:
        self.host = host
        self.origin = origin
        self.id = token_bytes(32)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.flags = UP | UV
        self.count = 0

    def client_data(self, kind: str, challenge: str) -> bytes:
        data = {"type": f"webauthn.{kind}", "challenge": challenge, "origin": self.origin}
        return json.dumps(data).encode()

    def authenticator_data(self, flags: int) -> bytes:
        return sha256(self.host.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def credential(self, **response: bytes) -> dict[str, Any]:
        return {
            "id": encode(self.id),
            "rawId": encode(self.id),
            "type": "public-key",
            "response": {name: encode(value) for name, value in response.items()},
        }

    def create(self, challenge: str) -> dict[str, Any]:
        """Return the response of `navigator.credentials.create`."""
        numbers = self.key.public_key().public_numbers()
        public_key = cbor2.dumps(
            {
                1: 2,
                3: -7,
                -1: 1,
                -2: numbers.x.to_bytes(32, "big"),
                -3: numbers.y.to_bytes(32, "big"),
            }
        )
        data = self.authenticator_data(self.flags | AT)
        data += bytes(16) + len(self.id).to_bytes(2, "big") + self.id + public_key
        attestation = {"fmt": "none", "attStmt": {}, "authData": data}
        return self.credential(
            clientDataJSON=self.client_data("create", challenge),
            attestationObject=cbor2.dumps(attestation),
        )

    def get(self, challenge: str) -> dict[str, Any]:
        """Return the response of `navigator.credentials.get`."""
        data = self.authenticator_data(self.flags)
        client_data = self.client_data("get", challenge)
        signed = data + sha256(client_data).digest()
        signature = self.key.sign(signed, ec.ECDSA(SHA256()))
        return self.credential(
            clientDataJSON=client_data, authenticatorData=data, signature=signature
        )
