#include "verifier/session/accepted_findings.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/appraisal/finding.h"
#include "common/crypto/digest.h"
#include "common/util/bytes.h"
#include "common/util/hex.h"

namespace cupel::verifier {
namespace {

using ::cupel::appraisal::Appraisal;
using ::cupel::appraisal::Finding;
using ::cupel::appraisal::Proof;
using ::cupel::appraisal::Severity;
using ::cupel::appraisal::Verdict;

bool IsAccepted(const Finding& finding,
                std::span<const AcceptedFinding> accepted,
                const tpm::ClockInfo& clock_info) {
  if (!appraisal::IsAcceptable(finding.id)) return false;
  // No PCR covers the path of a violation, whose record is all that there is of
  // it. Anything else that nothing covers is hearsay.
  if (!finding.authenticated && finding.id != "ima.violation") return false;
  return std::ranges::any_of(accepted, [&](const AcceptedFinding& one) {
    return one.id == finding.id && one.path == finding.path &&
           one.found == AcceptedText(finding) &&
           one.reset_count == clock_info.reset_count &&
           one.restart_count == clock_info.restart_count;
  });
}

}  // namespace

std::string AcceptedText(const Finding& finding) {
  if (!finding.path.empty() || !finding.pcr.has_value()) return finding.found;
  return absl::StrCat("PCR ", *finding.pcr, " ", finding.found);
}

std::string AcceptanceOf(const Finding& finding) {
  constexpr size_t kShownDigestSize = 16;
  if (!appraisal::IsAcceptable(finding.id) || !finding.boot.has_value())
    return "";
  std::vector<uint8_t> bytes;
  const auto add = [&bytes](absl::string_view part) {
    AppendBe(bytes, static_cast<uint32_t>(part.size()));
    Append(bytes, AsBytes(part));
  };
  add("cupel-finding-v1");
  add(finding.id);
  add(finding.path);
  add(AcceptedText(finding));
  AppendBe(bytes, finding.boot->reset_count);
  AppendBe(bytes, finding.boot->restart_count);
  const crypto::Digest digest =
      crypto::Hash(crypto::HashAlgorithm::kSha256, bytes);
  return absl::StrCat(finding.id, "@",
                      HexEncode(digest.bytes().first(kShownDigestSize)));
}

void ApplyAccepted(std::span<const AcceptedFinding> accepted,
                   const tpm::ClockInfo& clock_info, Appraisal& appraisal) {
  if (appraisal.verdict != Verdict::kFail || appraisal.findings_dropped > 0 ||
      appraisal.proof != Proof::kQuote) {
    return;
  }
  bool failed = false;
  bool undecided = false;
  bool any = false;
  for (Finding& finding : appraisal.findings) {
    if (finding.severity == Severity::kFailure &&
        IsAccepted(finding, accepted, clock_info)) {
      finding.severity = Severity::kNotice;
      absl::StrAppend(&finding.detail, finding.detail.empty() ? "" : "; ",
                      "accepted by an operator for this boot");
      any = true;
    }
    failed |= finding.severity == Severity::kFailure;
    undecided |= finding.severity == Severity::kUndecided;
  }
  // Without one that was accepted the verdict stands, findings or not.
  if (!any || failed) return;
  appraisal.verdict = undecided ? Verdict::kUndecided : Verdict::kPass;
}

}  // namespace cupel::verifier
