// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMarket} from "../../interfaces/IMarket.sol";

/// @title EIP-712 hash of a volatility report, and who signed it
/// @notice Twin: risk/exact/market/report_hash.py. The domain (name "Plumbline", version "1", chain id, vault address)
///         belongs to the vault and is passed in as its separator, so a signature counts on one chain for one vault.
library ReportHash {
    bytes32 internal constant SLICE_TYPEHASH = keccak256(
        "Slice(uint16 expiryDay,uint64 forwardRatioWad,uint64 discountWad,int40 aE9,uint40 bE9,int32 rhoE9,int40 mE9,uint40 sigmaE9)"
    );
    bytes32 internal constant REPORT_TYPEHASH = keccak256(
        "VolReport(uint8 underlying,uint64 nonce,uint40 timestamp,uint16 confidenceBps,Slice[] slices,int32 premiumE9)Slice(uint16 expiryDay,uint64 forwardRatioWad,uint64 discountWad,int40 aE9,uint40 bE9,int32 rhoE9,int40 mE9,uint40 sigmaE9)"
    );

    /// @dev ⌊n/2⌋ of secp256k1. Of the two signatures (s and n − s) only the lower counts.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @notice The digest that signers sign: keccak256(0x1901 ‖ domainSeparator ‖ structHash)
    function digest(bytes32 domainSeparator, IMarket.VolReport calldata report) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domainSeparator, structHash(report)));
    }

    /// @notice EIP-712 struct hash; the array is the hash of the concatenated slice hashes
    function structHash(IMarket.VolReport calldata report) internal pure returns (bytes32) {
        uint256 n = report.slices.length;
        bytes32[] memory hashes = new bytes32[](n);
        for (uint256 i = 0; i < n; ++i) {
            // All fields of a slice are static, so its ABI encoding is the EIP-712 encodeData.
            hashes[i] = keccak256(abi.encode(SLICE_TYPEHASH, report.slices[i]));
        }
        return keccak256(
            abi.encode(
                REPORT_TYPEHASH,
                report.underlying,
                report.nonce,
                report.timestamp,
                report.confidenceBps,
                keccak256(abi.encodePacked(hashes)),
                report.premiumE9
            )
        );
    }

    /// @notice The address whose key made the 65-byte signature r ‖ s ‖ v of `hash`; 0 where the signature is none:
    ///         wrong length, s in the upper half of the order (malleable), v not 27 or 28, or no point.
    /// @dev Oracle signers are plain keys: no ERC-1271, no EIP-2098, so every signature has one encoding.
    function recover(bytes32 hash, bytes calldata signature) internal pure returns (address) {
        if (signature.length != 65) return address(0);
        bytes32 r = bytes32(signature[0:32]);
        bytes32 s = bytes32(signature[32:64]);
        if (uint256(s) > HALF_ORDER) return address(0);
        return ecrecover(hash, uint8(signature[64]), r, s);
    }
}
