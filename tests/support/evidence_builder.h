// A machine that passes every check, for tests that then change one thing: on
// the machine before it attests, or in what it handed over.
#ifndef CUPEL_TESTS_SUPPORT_EVIDENCE_BUILDER_H_
#define CUPEL_TESTS_SUPPORT_EVIDENCE_BUILDER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/appraisal/appraise.h"
#include "common/crypto/digest.h"
#include "common/policy/compiled_policy.h"
#include "common/tpm/attestation_key.h"
#include "common/tpm/pcr_selection.h"
#include "common/tpm/pcr_values.h"
#include "tests/support/fake_tpm.h"
#include "tests/support/list_builder.h"

namespace cupel::testing {

// A policy in pieces.
struct PolicyParts {
  std::map<std::string, std::vector<crypto::Digest>> digests = {};
  std::map<std::string, std::vector<crypto::Digest>> buffers = {};
  std::vector<std::string> excludes = {};
  std::vector<crypto::Digest> deny = {};
  std::string content_id = "policy-1";
};
// Ends the process if the parts make no policy.
std::shared_ptr<const policy::CompiledPolicy> MakePolicy(
    const PolicyParts& parts);

// Everything that an appraisal of one machine's evidence takes. As it comes
// from FakeMachine::Attest() it passes without any finding.
struct ValidEvidence {
  std::vector<uint8_t> list;
  uint64_t first_entry = 0;
  ByteOrder byte_order = ByteOrder::kLittle;
  size_t template_digest_size = 20;
  std::optional<FakeQuote> quote;
  tpm::PcrValues pcrs;

  std::optional<tpm::AttestationKey> ak;
  std::vector<uint8_t> nonce;
  std::optional<tpm::PcrSelection> selection;
  std::vector<uint8_t> ek_name;
  bool accept_unknown_ak_attributes = false;

  appraisal::Reference reference;
  appraisal::Progress progress;
  appraisal::Options options;

  absl::StatusOr<appraisal::Appraisal> TryAppraise() const;
  // Ends the process on an error.
  appraisal::Appraisal Appraise() const;

  // Takes PCRs out of the reported values.
  void Unreport(crypto::HashAlgorithm bank, uint32_t pcr);
  // Reports another value than the one there is.
  void Misreport(uint32_t pcr, const crypto::Digest& value);
};

// A machine with firmware, a TPM and IMA, and the policy that allows what it
// has measured. A value: a copy is a clone.
class FakeMachine {
 public:
  // Booted: PCR 0 to 9 have values in every bank, and the list holds
  // boot_aggregate and three files.
  explicit FakeMachine(std::vector<crypto::HashAlgorithm> banks =
                           {crypto::HashAlgorithm::kSha256},
                       const FakeAkOptions& ak = {});

  // Measures a file that the policy allows.
  FakeMachine& Run(absl::string_view path, uint32_t pcr = 10);
  // boot_aggregate as this machine's kernel computes it.
  crypto::Digest BootAggregate(crypto::HashAlgorithm bank) const;
  // PCR 0 to 9, in every bank, from now on. PCRs of the firmware that are not
  // there are zero.
  void SetBootPcr(uint32_t pcr, absl::string_view seed);
  void ClearBootPcrs();
  // Drops what was measured and measures boot_aggregate and three files anew.
  void StartList();
  // A reboot: resets the counters as a TPM does, and the list.
  void Reboot();

  // Its TPM, with the values that the PCRs of `selection` have now. A bank that
  // is not among `banks` is not allocated.
  FakeTpm TpmNow(const tpm::PcrSelection& selection) const;
  // What it hands over when it is asked now.
  ValidEvidence Attest() const;

  std::vector<crypto::HashAlgorithm> banks;
  FakeTpm tpm;  // its `pcrs` are set by TpmNow and Attest
  // Values of the PCRs that the list does not extend.
  std::map<std::pair<crypto::HashAlgorithm, uint32_t>, crypto::Digest> pcrs;
  ListBuilder list;
  // The PCRs whose value comes from the list, and the quoted PCRs.
  std::vector<uint32_t> list_pcrs = {10};
  uint32_t quoted_pcrs = 0x7ff;
  PolicyParts policy;
};

// For Reference::tolerated_violations: one pattern.
std::shared_ptr<const policy::ExcludeSet> Tolerating(absl::string_view pattern);

// The ids of the findings, in their order.
std::vector<std::string> FindingIds(const appraisal::Appraisal& appraisal);
// The first finding with this id; nullptr if there is none.
const appraisal::Finding* FindFinding(const appraisal::Appraisal& appraisal,
                                      absl::string_view id);

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_EVIDENCE_BUILDER_H_
