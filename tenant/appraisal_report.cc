#include "tenant/appraisal_report.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "tenant/console.h"
#include "tenant/finding_report.h"

namespace cupel::tenant {
namespace {

using ::cupel::appraisal::Appraisal;
using ::cupel::appraisal::EntryCounts;
using ::cupel::appraisal::Finding;
using ::cupel::appraisal::Proof;
using ::cupel::appraisal::Severity;
using ::cupel::appraisal::Verdict;
using Json = nlohmann::ordered_json;

constexpr size_t kShownPerId = 50;

absl::string_view ProofWords(const Appraisal& appraisal) {
  switch (appraisal.proof) {
    case Proof::kNone:
      break;
    case Proof::kPcrs:
      return "explained by the PCR values given, not proven by a TPM";
    case Proof::kQuoteOfBareKey:
      if (appraisal.verdict == Verdict::kUndecided) break;
      return "proven by a quote whose key's attributes were not checked";
    case Proof::kQuote:
      return "proven by a TPM's quote";
  }
  return "not proven by a TPM";
}

// The option that settles a finding of this id, where there is one.
absl::string_view Cure(const Finding& finding) {
  struct Entry {
    absl::string_view id;
    absl::string_view cure;
  };
  // Those that lift a check are named only where it failed.
  static constexpr Entry kLifts[] = {
      {"ima.boot_aggregate_unproven", "give the values of PCR 0 to 9"},
      {"ima.boot_aggregate_zero", "--lab accepts it"},
      {"ima.list_malformed",
       "copy the list again, in binary; see --big-endian and --digest-size"},
      {"ima.violation",
       "--tolerate-violations accepts it, --tolerate-violations-of those of "
       "some paths"},
      {"pcr.bank_not_extended", "--lab accepts it"},
      {"pcr.bank_weak", "--allow-sha1-bank accepts it"},
      {"quote.malformed", "give tpm2_quote's -m and -s files as they are"},
      {"quote.ak_attributes_unknown", "--ak-attributes-unchecked accepts it"},
      {"quote.signer_unchecked", "give the AK as TPM2B_PUBLIC"},
      {"quote.selection", "does --pcr-list say what was asked for?"},
  };
  if (finding.id == "boot.any") return "see --tpm-policy";
  if (finding.id == "quote.selection_unchecked") return "see --pcr-list";
  if (finding.severity == Severity::kNotice) return "";
  for (const Entry& entry : kLifts) {
    if (entry.id == finding.id) return entry.cure;
  }
  return "";
}

absl::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPass:
      return "pass";
    case Verdict::kFail:
      return "fail";
    case Verdict::kUndecided:
      break;
  }
  return "undecided";
}

absl::string_view ProofName(Proof proof) {
  switch (proof) {
    case Proof::kNone:
      return "none";
    case Proof::kPcrs:
      return "pcrs";
    case Proof::kQuoteOfBareKey:
      return "quote_of_bare_key";
    case Proof::kQuote:
      break;
  }
  return "quote";
}

// As Keylime words it; excluded files count as good there.
std::string CountsLine(const EntryCounts& counts) {
  std::string line =
      absl::StrCat("template-hash ", counts.template_digest, " fnf ",
                   counts.not_in_policy, " hash ", counts.digest_mismatch,
                   " good ", counts.good + counts.excluded);
  const auto add = [&](absl::string_view name, uint64_t count) {
    if (count != 0) absl::StrAppend(&line, " ", name, " ", count);
  };
  add("violations", counts.violations);
  add("other", counts.other_failures);
  return line;
}

void PrintFinding(const Finding& finding, Proof proof, bool with_cure) {
  ReportedFinding reported = ToReported(finding);
  // Where nothing is proven, that is said once.
  if (proof == Proof::kNone) reported.authenticated = true;
  PrintLine(FindingLine(reported, with_cure ? Cure(finding) : ""));
}

// Of each kind the first ones: thousands of missing files must not hide the
// rest.
void PrintFindings(const Appraisal& appraisal) {
  std::map<absl::string_view, size_t> counts;
  for (const Finding& finding : appraisal.findings) {
    const size_t count = ++counts[finding.id];
    if (count <= kShownPerId) {
      PrintFinding(finding, appraisal.proof, /*with_cure=*/count == 1);
    }
  }
  for (const auto& [id, count] : counts) {
    if (count <= kShownPerId) continue;
    PrintLine(absl::StrCat("INFO - and ", count - kShownPerId, " more of ", id,
                           ": --json shows them"));
  }
  if (appraisal.findings_dropped != 0) {
    PrintLine(absl::StrCat("WARNING - and ", appraisal.findings_dropped,
                           " more findings, which are only counted"));
  }
}

// The ids of what decided against a pass, in the order of the checks.
std::vector<absl::string_view> DecidingIds(const Appraisal& appraisal) {
  const Severity severity = appraisal.verdict == Verdict::kUndecided
                                ? Severity::kUndecided
                                : Severity::kFailure;
  std::vector<absl::string_view> ids;
  for (const Finding& finding : appraisal.findings) {
    if (finding.severity == severity &&
        std::ranges::find(ids, finding.id) == ids.end()) {
      ids.push_back(finding.id);
    }
  }
  return ids;
}

bool HasListFinding(const Appraisal& appraisal, Severity severity) {
  return std::ranges::any_of(appraisal.findings, [severity](
                                                     const Finding& finding) {
    return finding.severity == severity && absl::StartsWith(finding.id, "ima.");
  });
}

// What became of the list's entries, in the line that Keylime's users look for.
void PrintCounts(const Appraisal& appraisal) {
  const EntryCounts& counts = appraisal.counts;
  if (counts.excluded != 0) {
    PrintLine(absl::StrCat("INFO - ", counts.excluded, " of ", counts.entries,
                           " entries were excluded, not judged"));
  }
  if (counts.pending != 0) {
    PrintLine(absl::StrCat("INFO - ", counts.pending,
                           " entries came after what the PCR values cover; "
                           "they were not judged"));
  }
  // Whatever decided the verdict: a list with an open question is not called
  // OK because of what is wrong with its quote. What was not kept may be about
  // the list as well.
  const bool dropped = appraisal.findings_dropped != 0;
  const bool failed = HasListFinding(appraisal, Severity::kFailure) ||
                      (dropped && appraisal.verdict == Verdict::kFail);
  const bool undecided = HasListFinding(appraisal, Severity::kUndecided) ||
                         (dropped && appraisal.verdict == Verdict::kUndecided);
  PrintLine(absl::StrCat(failed      ? "ERROR - IMA ERRORS: "
                         : undecided ? "ERROR - IMA UNDECIDED: "
                                     : "INFO - IMA OK: ",
                         CountsLine(counts)));
}

}  // namespace

ExitCode ExitCodeFor(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPass:
      return ExitCode::kOk;
    case Verdict::kFail:
      return ExitCode::kFindings;
    case Verdict::kUndecided:
      break;
  }
  return ExitCode::kUndecided;
}

void PrintReport(const Appraisal& appraisal) {
  PrintLine("INFO - Checking IMA measurement list...");
  PrintFindings(appraisal);
  PrintCounts(appraisal);
  const std::string reasons =
      absl::StrCat(" (", absl::StrJoin(DecidingIds(appraisal), ", "), "), ",
                   ProofWords(appraisal));
  switch (appraisal.verdict) {
    case Verdict::kPass:
      PrintLine(
          absl::StrCat("INFO - appraisal passed, ", ProofWords(appraisal)));
      break;
    case Verdict::kFail:
      PrintLine(absl::StrCat("WARNING - appraisal failed", reasons));
      break;
    case Verdict::kUndecided:
      PrintLine(
          absl::StrCat("ERROR - appraisal could not be decided", reasons));
      break;
  }
}

void PrintJsonReport(const Appraisal& appraisal) {
  const EntryCounts& counts = appraisal.counts;
  Json json;
  json["verdict"] = std::string(VerdictName(appraisal.verdict));
  json["proof"] = std::string(ProofName(appraisal.proof));
  if (appraisal.bank.has_value()) {
    json["bank"] = std::string(HashAlgorithmName(*appraisal.bank));
  }
  json["counts"] = {{"entries", counts.entries},
                    {"good", counts.good},
                    {"excluded", counts.excluded},
                    {"not_in_policy", counts.not_in_policy},
                    {"digest_mismatch", counts.digest_mismatch},
                    {"template_digest", counts.template_digest},
                    {"violations", counts.violations},
                    {"other_failures", counts.other_failures},
                    {"pending", counts.pending}};
  json["findings"] = Json::array();
  for (const Finding& finding : appraisal.findings) {
    json["findings"].push_back(ToJson(ToReported(finding)));
  }
  json["findings_dropped"] = appraisal.findings_dropped;
  PrintLine(DumpJson(json, 2));
}

}  // namespace cupel::tenant
