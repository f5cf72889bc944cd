// DSSE: a signed envelope around any document.
//
// Format: https://github.com/secure-systems-lab/dsse, envelope.md and
// protocol.md (version 1.0), in JSON:
//
//   {"payload": BASE64, "payloadType": TYPE,
//    "signatures": [{"keyid": TEXT, "sig": BASE64}, ...]}
//
// What is signed is PAE(payloadType, payload): "DSSEv1", and the size and the
// bytes of each, with spaces between.
#ifndef CUPEL_COMMON_CRYPTO_DSSE_H_
#define CUPEL_COMMON_CRYPTO_DSSE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/public_key.h"

namespace cupel::crypto {

struct DsseSignature {
  std::string key_id;  // a hint, not signed; empty if there is none
  std::vector<uint8_t> signature;
};

struct DsseEnvelope {
  std::string payload_type;
  std::vector<uint8_t> payload;
  std::vector<DsseSignature> signatures;  // 1 to 16
};

// Parses an envelope; verifies nothing. Members that the format does not know
// are ignored, as it asks for.
//
// kNotFound for a JSON object with none of the format's members;
// kInvalidArgument for anything that is not JSON, lacks a member, has one
// twice, is not base64 (see DecodeBase64), or has no signature or over 16.
absl::StatusOr<DsseEnvelope> ParseDsseEnvelope(std::span<const uint8_t> json);

// OK only if at least one of the signatures is one of `key` over payload type
// and payload. Every signature is tried, whatever its key id says.
//
// Keys: EC, the signature in DER with SHA-256 (as Keylime signs, on every
// curve), or with SHA-384 on P-384 and SHA-512 on P-521. kInvalidArgument for
// an RSA key; kPermissionDenied if no signature is valid.
absl::Status VerifyDsse(const DsseEnvelope& envelope, const PublicKey& key);

// PAE as above: the bytes to sign.
std::vector<uint8_t> DssePreAuthEncoding(absl::string_view payload_type,
                                         std::span<const uint8_t> payload);

// RFC 4648 base64 in the standard or the URL-safe alphabet, not mixed, with
// its padding. kInvalidArgument for white space, missing or extra padding, and
// bits left over that are not zero: each text has one meaning and each byte
// string one spelling an alphabet.
absl::StatusOr<std::vector<uint8_t>> DecodeBase64(absl::string_view text);

// The inverse, in the standard alphabet.
std::string EncodeBase64(std::span<const uint8_t> bytes);

}  // namespace cupel::crypto

#endif  // CUPEL_COMMON_CRYPTO_DSSE_H_
