#include "common/policy/tpm_policy.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/crypto/pcr.h"
#include "common/policy/digest_text.h"
#include "common/policy/json_reader.h"
#include "common/policy/warning_collector.h"
#include "common/util/bytes.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"

namespace cupel::policy {
namespace {

std::optional<uint32_t> PcrFromText(absl::string_view text) {
  uint32_t pcr = 0;
  if (!absl::SimpleAtoi(text, &pcr) || pcr >= kPcrCount ||
      absl::StrCat(pcr) != text) {
    return std::nullopt;
  }
  return pcr;
}

class Parser {
 public:
  Parser(absl::string_view json, absl::string_view origin)
      : origin_(origin),
        reader_(ToVector(AsBytes(json)), std::string(origin)) {}

  absl::StatusOr<TpmPolicy> Parse() {
    CUPEL_RETURN_IF_ERROR(reader_.ReadDocument(
        [&](absl::string_view key, JsonReader::Value value) -> absl::Status {
          const JsonMember member{
              .parent = nullptr, .key = key, .is_data = true};
          if (key == "mask") return ReadMask(value, member);
          const std::optional<uint32_t> pcr = PcrFromText(key);
          if (!pcr) {
            return reader_.Error(member, "is neither a PCR (0 to 23) nor mask");
          }
          return ReadValues(value, member, policy_.pcrs.values[*pcr]);
        }));
    uint32_t listed = 0;
    for (const auto& [pcr, values] : policy_.pcrs.values) {
      listed |= 1u << pcr;
      if (pcr == 16 || pcr == 23) {
        warnings_.Add("tpm_policy.resettable", absl::StrCat(origin_, ": ", pcr),
                      "software can reset this PCR and set it to any value");
      }
    }
    if (mask_ && (listed & ~*mask_) != 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          EscapeForDisplay(origin_),
          ": mask: leaves out PCRs that have values: it must hold at "
          "least 0x",
          absl::Hex(listed)));
    }
    policy_.pcrs.mask = mask_.value_or(listed);
    if (policy_.pcrs.mask == 0) {
      warnings_.Add("tpm_policy.empty", origin_,
                    "no PCR is asked for: every boot passes");
    }
    if (sha1_count_ > 0) {
      warnings_.Add("digest.sha1", origin_, Sha1Warning(sha1_count_));
    }
    policy_.warnings = std::move(warnings_).Take(origin_);
    return std::move(policy_);
  }

 private:
  absl::Status ReadMask(JsonReader::Value value, const JsonMember& member) {
    std::string scratch;
    CUPEL_ASSIGN_OR_RETURN(const absl::string_view text,
                           reader_.ReadString(value, member, scratch));
    uint32_t mask = 0;
    if (text.size() < 3 || text.substr(0, 2) != "0x" ||
        text.find_first_not_of("0123456789abcdefABCDEF", 2) != text.npos ||
        !absl::SimpleHexAtoi(text, &mask) || mask >> kPcrCount != 0) {
      return reader_.Error(member,
                           "must be \"0x\" and hex digits of at most 24 bits");
    }
    mask_ = mask;
    return absl::OkStatus();
  }

  absl::Status ReadValue(JsonReader::Value value, const JsonMember& member,
                         std::vector<crypto::Digest>& out) {
    std::string scratch;
    CUPEL_ASSIGN_OR_RETURN(const absl::string_view text,
                           reader_.ReadString(value, member, scratch));
    const auto digest = ParseDigestText(text, HexCase::kAny);
    if (!digest.ok()) return reader_.Error(member, digest.status().message());
    if (!crypto::IsReplayBank(digest->algorithm())) {
      return reader_.Error(
          member, absl::StrCat("no PCR bank has ",
                               crypto::HashAlgorithmName(digest->algorithm()),
                               " values"));
    }
    if (digest->algorithm() == crypto::HashAlgorithm::kSha1) ++sha1_count_;
    out.push_back(*digest);
    return absl::OkStatus();
  }

  absl::Status ReadValues(JsonReader::Value value, const JsonMember& member,
                          std::vector<crypto::Digest>& out) {
    if (JsonReader::IsString(value)) return ReadValue(value, member, out);
    CUPEL_RETURN_IF_ERROR(reader_.ReadArray(
        value, member, [&](JsonReader::Value element, int64_t index) {
          return ReadValue(element, member.Element(index), out);
        }));
    if (out.empty()) return reader_.Error(member, "lists no value");
    return absl::OkStatus();
  }

  const std::string origin_;
  JsonReader reader_;
  TpmPolicy policy_;
  WarningCollector warnings_;
  std::optional<uint32_t> mask_;
  size_t sha1_count_ = 0;
};

}  // namespace

absl::StatusOr<TpmPolicy> ParseTpmPolicy(absl::string_view json,
                                         absl::string_view origin) {
  if (json.size() > kMaxTpmPolicySize) {
    return absl::ResourceExhaustedError(
        absl::StrCat(EscapeForDisplay(origin), ": ", json.size(),
                     " bytes, limit ", kMaxTpmPolicySize));
  }
  return Parser(json, origin).Parse();
}

}  // namespace cupel::policy
