#include "common/crypto/dsse.h"

#include <simdjson.h>

#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::crypto {
namespace {

namespace json = simdjson::ondemand;

constexpr size_t kMaxSignatures = 16;
constexpr uint8_t kNotBase64 = 0xff;

absl::Status MalformedEnvelope(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("DSSE envelope: ", what));
}

absl::Status MalformedEnvelope(simdjson::error_code error) {
  return MalformedEnvelope(simdjson::error_message(error));
}

absl::StatusOr<std::string> Text(json::value value, absl::string_view member) {
  std::string_view text;
  if (const auto error = value.get_string().get(text)) {
    return MalformedEnvelope(absl::StrCat(
        std::string(member), ": ",
        error == simdjson::INCORRECT_TYPE ? "must be a string"
                                          : simdjson::error_message(error)));
  }
  return std::string(text);
}

absl::StatusOr<std::vector<uint8_t>> Bytes(json::value value,
                                           absl::string_view member) {
  CUPEL_ASSIGN_OR_RETURN(const std::string text, Text(value, member));
  auto bytes = DecodeBase64(text);
  if (!bytes.ok()) {
    return MalformedEnvelope(
        absl::StrCat(member, ": ", bytes.status().message()));
  }
  return bytes;
}

// simdjson checks what is visited: a member that is passed over must be JSON
// all the same.
absl::Status Skip(json::value value) {
  json::json_type type;
  if (const auto error = value.type().get(type))
    return MalformedEnvelope(error);
  std::string_view raw;
  simdjson::error_code error = simdjson::SUCCESS;
  if (type == json::json_type::object) {
    json::object object;
    error = value.get_object().get(object);
    if (!error) error = object.raw_json().get(raw);
  } else if (type == json::json_type::array) {
    json::array array;
    error = value.get_array().get(array);
    if (!error) error = array.raw_json().get(raw);
  } else {
    raw = value.raw_json_token();
  }
  if (error) return MalformedEnvelope(error);
  return nlohmann::json::accept(raw) ? absl::OkStatus()
                                     : MalformedEnvelope("not valid JSON");
}

// Calls `visit(key, value)` for each member; a key twice is an error.
template <typename Visit>
absl::Status ForEachMember(json::object& object, Visit visit) {
  std::set<std::string> keys;
  for (auto field : object) {
    std::string_view key;
    if (const auto error = field.unescaped_key().get(key)) {
      return MalformedEnvelope(error);
    }
    const auto inserted = keys.emplace(key);
    if (!inserted.second)
      return MalformedEnvelope("a member stands there twice");
    json::value value;
    if (const auto error = field.value().get(value))
      return MalformedEnvelope(error);
    CUPEL_RETURN_IF_ERROR(visit(*inserted.first, value));
  }
  return absl::OkStatus();
}

absl::StatusOr<DsseSignature> ReadSignature(json::value value) {
  json::object object;
  if (value.get_object().get(object)) {
    return MalformedEnvelope("signatures: each must be an object");
  }
  DsseSignature signature;
  bool has_signature = false;
  CUPEL_RETURN_IF_ERROR(ForEachMember(
      object, [&](absl::string_view key, json::value member) -> absl::Status {
        if (key == "keyid") {
          CUPEL_ASSIGN_OR_RETURN(signature.key_id, Text(member, "keyid"));
          return absl::OkStatus();
        }
        if (key == "sig") {
          has_signature = true;
          CUPEL_ASSIGN_OR_RETURN(signature.signature, Bytes(member, "sig"));
          return absl::OkStatus();
        }
        return Skip(member);
      }));
  if (!has_signature) return MalformedEnvelope("a signature without \"sig\"");
  return signature;
}

constexpr std::array<uint8_t, 256> MakeBase64Values(char c62, char c63) {
  std::array<uint8_t, 256> values{};
  for (auto& value : values) value = kNotBase64;
  for (unsigned i = 0; i < 26; ++i) {
    values['A' + i] = static_cast<uint8_t>(i);
    values['a' + i] = static_cast<uint8_t>(26 + i);
  }
  for (unsigned i = 0; i < 10; ++i) {
    values['0' + i] = static_cast<uint8_t>(52 + i);
  }
  values[static_cast<uint8_t>(c62)] = 62;
  values[static_cast<uint8_t>(c63)] = 63;
  return values;
}

constexpr std::array<uint8_t, 256> kStandard = MakeBase64Values('+', '/');
constexpr std::array<uint8_t, 256> kUrlSafe = MakeBase64Values('-', '_');

}  // namespace

absl::StatusOr<std::vector<uint8_t>> DecodeBase64(absl::string_view text) {
  if (text.size() % 4 != 0) {
    return absl::InvalidArgumentError(
        "base64: the length is no multiple of four (is the padding missing?)");
  }
  size_t padding = 0;
  while (padding < 2 && padding < text.size() &&
         text[text.size() - 1 - padding] == '=') {
    ++padding;
  }
  const absl::string_view digits = text.substr(0, text.size() - padding);
  const auto& values =
      digits.find_first_of("-_") == digits.npos ? kStandard : kUrlSafe;
  std::vector<uint8_t> bytes;
  bytes.reserve(text.size() / 4 * 3);
  uint32_t buffer = 0;
  uint32_t bits = 0;
  for (size_t i = 0; i < digits.size(); ++i) {
    const uint8_t value = values[static_cast<uint8_t>(digits[i])];
    if (value == kNotBase64) {
      return absl::InvalidArgumentError(
          absl::StrCat("base64: character ", i + 1, " is not allowed there"));
    }
    buffer = buffer << 6 | value;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes.push_back(static_cast<uint8_t>(buffer >> bits));
    }
  }
  if ((buffer & ((1u << bits) - 1)) != 0) {
    return absl::InvalidArgumentError("base64: bits left over at the end");
  }
  return bytes;
}

std::string EncodeBase64(std::span<const uint8_t> bytes) {
  return absl::Base64Escape(AsText(bytes));
}

absl::StatusOr<DsseEnvelope> ParseDsseEnvelope(std::span<const uint8_t> json) {
  std::string padded;
  padded.reserve(json.size() + simdjson::SIMDJSON_PADDING);
  padded.append(AsText(json).data(), json.size());
  padded.append(simdjson::SIMDJSON_PADDING, '\0');

  json::parser parser;
  json::document document;
  json::object object;
  const simdjson::padded_string_view view(padded.data(), json.size(),
                                          padded.size());
  if (const auto error = parser.iterate(view).get(document)) {
    return MalformedEnvelope(error);
  }
  if (const auto error = document.get_object().get(object)) {
    return MalformedEnvelope(error);
  }
  DsseEnvelope envelope;
  bool has_payload = false;
  bool has_type = false;
  bool has_signatures = false;
  CUPEL_RETURN_IF_ERROR(ForEachMember(
      object, [&](absl::string_view key, json::value value) -> absl::Status {
        if (key == "payload") {
          has_payload = true;
          CUPEL_ASSIGN_OR_RETURN(envelope.payload, Bytes(value, key));
          return absl::OkStatus();
        }
        if (key == "payloadType") {
          has_type = true;
          CUPEL_ASSIGN_OR_RETURN(envelope.payload_type, Text(value, key));
          return absl::OkStatus();
        }
        if (key != "signatures") return Skip(value);
        has_signatures = true;
        json::array array;
        if (value.get_array().get(array)) {
          return MalformedEnvelope("signatures: must be an array");
        }
        for (auto element : array) {
          json::value inner;
          if (const auto error = element.get(inner))
            return MalformedEnvelope(error);
          if (envelope.signatures.size() == kMaxSignatures) {
            return MalformedEnvelope(
                absl::StrCat("more than ", kMaxSignatures, " signatures"));
          }
          CUPEL_ASSIGN_OR_RETURN(DsseSignature signature, ReadSignature(inner));
          envelope.signatures.push_back(std::move(signature));
        }
        return absl::OkStatus();
      }));
  if (document.current_location().error() != simdjson::OUT_OF_BOUNDS) {
    return MalformedEnvelope("something follows it");
  }
  if (!has_payload && !has_type && !has_signatures) {
    return absl::NotFoundError("not a DSSE envelope");
  }
  if (!has_payload) return MalformedEnvelope("no \"payload\"");
  if (!has_type) return MalformedEnvelope("no \"payloadType\"");
  if (envelope.signatures.empty()) return MalformedEnvelope("no signature");
  return envelope;
}

std::vector<uint8_t> DssePreAuthEncoding(absl::string_view payload_type,
                                         std::span<const uint8_t> payload) {
  const std::string head = absl::StrCat("DSSEv1 ", payload_type.size(), " ",
                                        payload_type, " ", payload.size(), " ");
  std::vector<uint8_t> message;
  message.reserve(head.size() + payload.size());
  Append(message, AsBytes(head));
  Append(message, payload);
  return message;
}

absl::Status VerifyDsse(const DsseEnvelope& envelope, const PublicKey& key) {
  std::vector<HashAlgorithm> hashes = {HashAlgorithm::kSha256};
  switch (key.type()) {
    case KeyType::kRsa:
      return absl::InvalidArgumentError(absl::StrCat(
          "DSSE: signatures are ECDSA, the key is ", key.Description()));
    case KeyType::kEcP256:
      break;
    case KeyType::kEcP384:
      hashes.push_back(HashAlgorithm::kSha384);
      break;
    case KeyType::kEcP521:
      hashes.push_back(HashAlgorithm::kSha512);
      break;
  }
  const std::vector<uint8_t> message =
      DssePreAuthEncoding(envelope.payload_type, envelope.payload);
  for (const DsseSignature& signature : envelope.signatures) {
    for (const HashAlgorithm hash : hashes) {
      const absl::Status status = key.VerifySignature(
          SignatureScheme::kEcdsa, hash, message, signature.signature);
      if (status.ok()) return absl::OkStatus();
      if (status.code() != absl::StatusCode::kPermissionDenied) return status;
    }
  }
  return absl::PermissionDeniedError(
      absl::StrCat("DSSE: none of the ", envelope.signatures.size(),
                   " signatures is valid under the given key"));
}

}  // namespace cupel::crypto
