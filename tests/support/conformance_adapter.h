// Puts the cases of a peer's conformance data to Cupel.
//
// A case asks in the peer's terms (text lists, JSON responses, files of its
// tools). The adapter turns that into what Cupel's libraries take and says what
// they answer. It decides nothing of its own, and switches nothing off: where
// Cupel has no such input, it is not looked at.
#ifndef CUPEL_TESTS_SUPPORT_CONFORMANCE_ADAPTER_H_
#define CUPEL_TESTS_SUPPORT_CONFORMANCE_ADAPTER_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cupel::testing {

// Cupel's answer to one case, or to one step of it.
struct CaseAnswer {
  // An explicit pass. A finding, an undecided check and a refused input are
  // none.
  bool pass = false;
  // Why there is no pass, for messages.
  std::string why;
  // What Cupel computed on the way, by the names that the data has for it.
  nlohmann::json outputs = nlohmann::json::object();
  // One each, for a case with steps.
  std::vector<CaseAnswer> steps;
};

// Answers a case of `kind` with these `inputs`, whose files are relative to
// `folder`:
//
//   ima_entry            a line parses, and its template digest is that of its
//                        data
//   ima_list             appraisal::Appraise of one list, or of step after step
//                        with the progress that the step before gave; `pcr` is
//                        the PCR evidence, and the SHA-1 bank is allowed where
//                        it is the one asked for
//   attestation          the same with a quote, which has to vouch for the list
//   quote                tpm::VerifyQuote, asked for the PCRs that are
//   reported,
//                        in the bank that the case names
//   tpm2b_name, tpm2b_pubkey, makecredential, policy_load, policy_schema,
//   exclude_list, flat_allowlist, policy_from_log, boot_aggregate_line,
//   mb_parse
//                        the function of that purpose
//
// An error is about the case, not about Cupel: kUnimplemented for another kind,
// kInvalidArgument for a missing or mistyped input, ReadFile's for a file.
absl::StatusOr<CaseAnswer> AnswerCase(const std::string& folder,
                                      absl::string_view kind,
                                      const nlohmann::json& inputs);

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_CONFORMANCE_ADAPTER_H_
