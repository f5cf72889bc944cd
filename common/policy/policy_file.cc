#include "common/policy/policy_file.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/crypto/dsse.h"
#include "common/policy/digest_text.h"
#include "common/policy/exclude_lint.h"
#include "common/policy/exclude_list.h"
#include "common/policy/json_reader.h"
#include "common/policy/warning_collector.h"
#include "common/util/escape.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"

namespace cupel::policy {
namespace {

constexpr absl::string_view kPayloadType = "application/vnd.keylime+json";
constexpr size_t kMaxVerificationKeysSize = size_t{1} << 20;
constexpr int64_t kPolicyVersion = 1;
constexpr int64_t kLegacyVersion = 5;

constexpr absl::string_view kEnvelopeMembers[] = {"payload", "payloadType",
                                                  "signatures"};
// Keylime's schema requires them.
constexpr absl::string_view kRequired[] = {
    "meta",     "release", "digests", "excludes",
    "keyrings", "ima",     "ima-buf", "verification-keys"};
constexpr absl::string_view kRequiredLegacy[] = {
    "meta", "release", "hashes", "keyrings", "ima", "ima-buf"};
// A file without any of these says nothing.
constexpr absl::string_view kContent[] = {
    "digests",  "hashes",  "excludes",         "deny",
    "keyrings", "ima-buf", "verification-keys"};

using Value = JsonReader::Value;

bool IsLogHashAlgorithm(absl::string_view name) {
  return name == "sha1" || name == "sha256" || name == "sha384" ||
         name == "sha512";
}

class Loader {
 public:
  Loader(std::vector<uint8_t> bytes, std::string origin)
      : origin_(std::move(origin)), reader_(std::move(bytes), origin_) {}

  absl::StatusOr<RuntimePolicy> Load() {
    const absl::Status status = reader_.ReadDocument(
        [&](absl::string_view key, Value value) -> absl::Status {
          members_.emplace(key);
          return ReadMember(key, value);
        });
    // Also where an envelope's member could not be read.
    if (Has(kEnvelopeMembers)) {
      return absl::FailedPreconditionError(absl::StrCat(
          EscapeForDisplay(origin_),
          ": this is a signed policy (DSSE): give the key that signed it"));
    }
    CUPEL_RETURN_IF_ERROR(status);
    if (!HasAny(kContent)) {
      return reader_.Error(
          {},
          "not a runtime policy: it has none of digests, hashes, excludes, "
          "deny, keyrings, ima-buf and verification-keys");
    }
    if (members_.contains("digests") && members_.contains("hashes")) {
      return reader_.Error({}, "has both digests and hashes (the older name)");
    }
    CUPEL_RETURN_IF_ERROR(CheckVersion());
    CUPEL_RETURN_IF_ERROR(ExcludeSet::Create(policy_.excludes).status());
    WarnAboutMembers();
    policy_.digests = std::move(digests_).Build();
    policy_.warnings = std::move(warnings_).Take(origin_);
    for (PolicyWarning& warning : LintExcludes(policy_.excludes, origin_)) {
      policy_.warnings.push_back(std::move(warning));
    }
    return std::move(policy_);
  }

 private:
  template <typename Names>
  bool Has(const Names& names) const {
    for (const absl::string_view name : names) {
      if (!members_.contains(name)) return false;
    }
    return true;
  }
  template <typename Names>
  bool HasAny(const Names& names) const {
    for (const absl::string_view name : names) {
      if (members_.contains(name)) return true;
    }
    return false;
  }

  void Warn(absl::string_view code, const JsonMember& member,
            std::string message) {
    warnings_.Add(code, reader_.Origin(member), std::move(message));
  }

  absl::Status ReadMember(absl::string_view key, Value value) {
    const JsonMember member{.parent = nullptr, .key = key};
    if (key == "digests" || key == "hashes") return ReadDigests(value, member);
    if (key == "excludes") return ReadExcludes(value, member);
    if (key == "deny") return ReadDeny(value, member);
    if (key == "meta") return ReadMeta(value, member);
    if (key == "ima") return ReadIma(value, member);
    if (key == "keyrings") return ReadKeyrings(value, member);
    if (key == "ima-buf") return ReadBuffers(value, member);
    if (key == "verification-keys") {
      return ReadVerificationKeys(value, member);
    }
    if (key == "release") {
      CUPEL_ASSIGN_OR_RETURN(policy_.release,
                             reader_.ReadInteger(value, member));
      if (policy_.release < 0) {
        Warn("schema.release", member, "is negative");
      }
      return absl::OkStatus();
    }
    return ReadUnknown(value, {.parent = nullptr, .key = key, .is_data = true});
  }

  absl::Status ReadUnknown(Value value, const JsonMember& member) {
    CUPEL_RETURN_IF_ERROR(reader_.ReadRaw(value, member).status());
    Warn("policy.unknown_member", member, "is unknown and has no effect");
    return absl::OkStatus();
  }

  enum class Use { kAllow, kDeny };

  absl::StatusOr<crypto::Digest> ReadDigest(Value value,
                                            const JsonMember& member, Use use) {
    std::string scratch;
    CUPEL_ASSIGN_OR_RETURN(const absl::string_view text,
                           reader_.ReadString(value, member, scratch));
    auto digest = ParseDigestText(text, HexCase::kLower);
    if (!digest.ok()) return reader_.Error(member, digest.status().message());
    if (use == Use::kAllow) {
      const absl::Status allowed = CheckMayAllow(*digest);
      if (!allowed.ok()) return reader_.Error(member, allowed.message());
    }
    if (text.find(':') != text.npos && warnings_.Wants("schema.digest_form")) {
      Warn("schema.digest_form", member,
           "is written ALGORITHM:HEX, which Keylime never matches");
    }
    if (digest->algorithm() == crypto::HashAlgorithm::kSha1) ++sha1_count_;
    return digest;
  }

  absl::Status ReadDigests(Value value, const JsonMember& member) {
    const auto read_path = [&](absl::string_view path, Value list) {
      const JsonMember entry = member.Data(path);
      if (const absl::Status added = digests_.AddPath(path); !added.ok()) {
        return added.code() == absl::StatusCode::kInvalidArgument
                   ? reader_.Error(entry, added.message())
                   : added;
      }
      return reader_.ReadArray(
          list, entry, [&](Value element, int64_t index) -> absl::Status {
            CUPEL_ASSIGN_OR_RETURN(
                const crypto::Digest digest,
                ReadDigest(element, entry.Element(index), Use::kAllow));
            return digests_.AddDigest(digest.algorithm(), digest.bytes());
          });
    };
    // The table finds a path that stands there twice at less cost.
    CUPEL_RETURN_IF_ERROR(
        reader_.ReadObject(value, member, read_path, /*check_keys=*/false));
    if (const auto path = digests_.FindRepeatedPath()) {
      return reader_.Error(member.Data(*path), "stands there twice");
    }
    return absl::OkStatus();
  }

  absl::Status ReadStrings(Value value, const JsonMember& member,
                           std::vector<std::string>& out) {
    return reader_.ReadArray(
        value, member, [&](Value element, int64_t index) -> absl::Status {
          std::string scratch;
          CUPEL_ASSIGN_OR_RETURN(
              const absl::string_view text,
              reader_.ReadString(element, member.Element(index), scratch));
          out.emplace_back(text);
          return absl::OkStatus();
        });
  }

  absl::Status ReadExcludes(Value value, const JsonMember& member) {
    std::vector<std::string> texts;
    CUPEL_RETURN_IF_ERROR(ReadStrings(value, member, texts));
    for (size_t i = 0; i < texts.size(); ++i) {
      policy_.excludes.push_back(
          {std::move(texts[i]),
           absl::StrCat(origin_, ": ",
                        member.Element(static_cast<int64_t>(i)).Name())});
    }
    return absl::OkStatus();
  }

  // {"digests": [HEX | {"digest": HEX, "path": PATH, "reason": TEXT}]}
  absl::Status ReadDeny(Value value, const JsonMember& member) {
    return reader_.ReadObject(
        value, member, [&](absl::string_view key, Value list) -> absl::Status {
          const JsonMember inner = member.Member(key);
          // A member that is misspelt would deny nothing.
          if (key != "digests") return reader_.Error(inner, "is unknown");
          return reader_.ReadArray(
              list, inner, [&](Value element, int64_t index) {
                return ReadDenyRule(element, inner.Element(index));
              });
        });
  }

  absl::Status ReadDenyRule(Value value, const JsonMember& member) {
    DenyRule rule;
    rule.origin = reader_.Origin(member);
    if (!JsonReader::IsObject(value)) {
      CUPEL_ASSIGN_OR_RETURN(rule.digest,
                             ReadDigest(value, member, Use::kDeny));
      policy_.deny.push_back(std::move(rule));
      return absl::OkStatus();
    }
    bool has_digest = false;
    CUPEL_RETURN_IF_ERROR(reader_.ReadObject(
        value, member, [&](absl::string_view key, Value inner) -> absl::Status {
          const JsonMember name = member.Member(key);
          if (key == "digest") {
            has_digest = true;
            CUPEL_ASSIGN_OR_RETURN(rule.digest,
                                   ReadDigest(inner, name, Use::kDeny));
            return absl::OkStatus();
          }
          if (key != "path" && key != "reason") {
            return reader_.Error(name, "is unknown");
          }
          std::string scratch;
          CUPEL_ASSIGN_OR_RETURN(const absl::string_view text,
                                 reader_.ReadString(inner, name, scratch));
          (key == "path" ? rule.path : rule.reason) = std::string(text);
          return absl::OkStatus();
        }));
    if (!has_digest) return reader_.Error(member, "has no digest");
    policy_.deny.push_back(std::move(rule));
    return absl::OkStatus();
  }

  absl::Status ReadMeta(Value value, const JsonMember& member) {
    return reader_.ReadObject(
        value, member, [&](absl::string_view key, Value inner) -> absl::Status {
          const JsonMember name = member.Member(key);
          if (key == "version") {
            CUPEL_ASSIGN_OR_RETURN(policy_.meta_version,
                                   reader_.ReadInteger(inner, name));
            return absl::OkStatus();
          }
          if (key == "generator") {
            CUPEL_ASSIGN_OR_RETURN(policy_.meta_generator,
                                   reader_.ReadInteger(inner, name));
            return absl::OkStatus();
          }
          if (key == "timestamp") {
            return ReadText(inner, name, policy_.meta_timestamp);
          }
          return ReadUnknown(inner, member.Data(key));
        });
  }

  absl::Status ReadText(Value value, const JsonMember& member,
                        std::string& out) {
    std::string scratch;
    CUPEL_ASSIGN_OR_RETURN(const absl::string_view text,
                           reader_.ReadString(value, member, scratch));
    out = std::string(text);
    return absl::OkStatus();
  }

  absl::Status ReadIma(Value value, const JsonMember& member) {
    return reader_.ReadObject(
        value, member, [&](absl::string_view key, Value inner) -> absl::Status {
          const JsonMember name = member.Member(key);
          ima_members_.emplace(key);
          if (key == "ignored_keyrings") {
            return ReadStrings(inner, name, policy_.ignored_keyrings);
          }
          if (key == "log_hash_alg") {
            CUPEL_RETURN_IF_ERROR(ReadText(inner, name, policy_.log_hash_alg));
            if (!IsLogHashAlgorithm(policy_.log_hash_alg)) {
              Warn("schema.log_hash_alg", name,
                   "is none of sha1, sha256, sha384 and sha512");
            }
            return absl::OkStatus();
          }
          if (key == "dm_policy") return ReadDmPolicy(inner, name);
          return ReadUnknown(inner, member.Data(key));
        });
  }

  absl::Status ReadDmPolicy(Value value, const JsonMember& member) {
    const bool is_object = JsonReader::IsObject(value);
    CUPEL_ASSIGN_OR_RETURN(const absl::string_view raw,
                           reader_.ReadRaw(value, member));
    if (is_object) {
      policy_.dm_policy_json = std::string(raw);
      Warn("schema.dm_policy", member,
           "is kept but has no effect yet; Keylime's schema only has null");
      return absl::OkStatus();
    }
    if (raw != "null") {
      return reader_.Error(member, "must be null or an object");
    }
    return absl::OkStatus();
  }

  absl::Status ReadKeyrings(Value value, const JsonMember& member) {
    return reader_.ReadObject(
        value, member, [&](absl::string_view ring, Value list) -> absl::Status {
          const JsonMember entry = member.Data(ring);
          std::vector<std::string>& keys = policy_.keyrings[std::string(ring)];
          return reader_.ReadArray(
              list, entry, [&](Value element, int64_t index) -> absl::Status {
                CUPEL_ASSIGN_OR_RETURN(
                    const crypto::Digest digest,
                    ReadDigest(element, entry.Element(index), Use::kAllow));
                keys.push_back(FormatDigestText(digest));
                return absl::OkStatus();
              });
        });
  }

  absl::Status ReadBuffers(Value value, const JsonMember& member) {
    return reader_.ReadObject(
        value, member, [&](absl::string_view name, Value list) -> absl::Status {
          const JsonMember entry = member.Data(name);
          std::vector<crypto::Digest>& digests =
              policy_.buffers[std::string(name)];
          return reader_.ReadArray(
              list, entry, [&](Value element, int64_t index) -> absl::Status {
                CUPEL_ASSIGN_OR_RETURN(
                    crypto::Digest digest,
                    ReadDigest(element, entry.Element(index), Use::kAllow));
                digests.push_back(digest);
                return absl::OkStatus();
              });
        });
  }

  absl::Status ReadVerificationKeys(Value value, const JsonMember& member) {
    CUPEL_RETURN_IF_ERROR(ReadText(value, member, policy_.verification_keys));
    if (policy_.verification_keys.empty()) return absl::OkStatus();
    if (policy_.verification_keys.size() > kMaxVerificationKeysSize) {
      return reader_.Error(
          member, absl::StrCat(policy_.verification_keys.size(),
                               " bytes, limit ", kMaxVerificationKeysSize));
    }
    const auto keys = nlohmann::json::parse(policy_.verification_keys, nullptr,
                                            /*allow_exceptions=*/false);
    if (!keys.is_object() || !keys.contains("pubkeys") ||
        !keys["pubkeys"].is_array()) {
      return reader_.Error(member,
                           "must be \"\" or the text of a JSON object with "
                           "the array \"pubkeys\"");
    }
    return absl::OkStatus();
  }

  bool IsLegacy() const { return members_.contains("hashes"); }

  absl::Status CheckVersion() {
    const int64_t newest = IsLegacy() ? kLegacyVersion : kPolicyVersion;
    if (!policy_.meta_version) return absl::OkStatus();
    if (*policy_.meta_version >= 0 && *policy_.meta_version <= newest) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(absl::StrCat(
        EscapeForDisplay(origin_), ": meta.version: ", *policy_.meta_version,
        " is unknown; the newest known is ", newest));
  }

  void WarnAboutMembers() {
    const auto require = [&](const JsonMember& member, bool is_there) {
      if (is_there) return;
      Warn("schema.missing_member", member,
           "is missing; Keylime's schema requires it");
    };
    if (IsLegacy()) {
      Warn("schema.legacy_form", {.parent = nullptr, .key = "hashes"},
           "is the name of digests in the older JSON allowlist");
      for (const absl::string_view name : kRequiredLegacy) {
        require({.parent = nullptr, .key = name}, members_.contains(name));
      }
    } else {
      for (const absl::string_view name : kRequired) {
        require({.parent = nullptr, .key = name}, members_.contains(name));
      }
    }
    const JsonMember meta{.parent = nullptr, .key = "meta"};
    if (members_.contains("meta")) {
      require(meta.Member("version"), policy_.meta_version.has_value());
      if (!IsLegacy()) {
        require(meta.Member("generator"), policy_.meta_generator.has_value());
      }
    }
    const JsonMember ima{.parent = nullptr, .key = "ima"};
    if (members_.contains("ima") && !IsLegacy()) {
      for (const absl::string_view name :
           {"ignored_keyrings", "log_hash_alg", "dm_policy"}) {
        require(ima.Member(name), ima_members_.contains(name));
      }
    }
    if (sha1_count_ > 0) {
      warnings_.Add("digest.sha1", origin_, Sha1Warning(sha1_count_));
    }
  }

  const std::string origin_;
  JsonReader reader_;
  RuntimePolicy policy_;
  DigestTable::Builder digests_;
  WarningCollector warnings_;
  std::set<std::string, std::less<>> members_;
  std::set<std::string, std::less<>> ima_members_;
  size_t sha1_count_ = 0;
};

}  // namespace

absl::StatusOr<RuntimePolicy> LoadPolicyFile(std::vector<uint8_t> bytes,
                                             const PolicyFileOptions& options) {
  const std::string origin = EscapeForDisplay(options.origin);
  if (bytes.size() > kMaxPolicyFileSize) {
    return absl::ResourceExhaustedError(absl::StrCat(
        origin, ": ", bytes.size(), " bytes, limit ", kMaxPolicyFileSize));
  }
  std::string content_id = PolicyContentId(bytes);
  if (!options.key) {
    CUPEL_ASSIGN_OR_RETURN(RuntimePolicy policy,
                           Loader(std::move(bytes), options.origin).Load());
    policy.content_id = std::move(content_id);
    return policy;
  }

  auto envelope = crypto::ParseDsseEnvelope(bytes);
  if (envelope.status().code() == absl::StatusCode::kNotFound) {
    return absl::FailedPreconditionError(absl::StrCat(
        origin, ": a key is given, but this policy is not signed"));
  }
  CUPEL_RETURN_IF_ERROR(WithContext(envelope.status(), origin));
  CUPEL_RETURN_IF_ERROR(
      WithContext(crypto::VerifyDsse(*envelope, *options.key), origin));
  // The same key may sign other things.
  if (envelope->payload_type != kPayloadType) {
    return absl::InvalidArgumentError(absl::StrCat(
        origin, ": payloadType ", Quoted(envelope->payload_type, kShownSize),
        " is not \"", kPayloadType, "\""));
  }
  bytes = {};
  CUPEL_ASSIGN_OR_RETURN(
      RuntimePolicy policy,
      Loader(std::move(envelope->payload), options.origin).Load());
  policy.content_id = std::move(content_id);
  return policy;
}

std::string PolicyContentId(std::span<const uint8_t> bytes) {
  return crypto::Hash(crypto::HashAlgorithm::kSha256, bytes).Hex();
}

}  // namespace cupel::policy
