// What a policy says about each entry of a list.
#ifndef CUPEL_COMMON_APPRAISAL_ENTRY_CHECKS_H_
#define CUPEL_COMMON_APPRAISAL_ENTRY_CHECKS_H_

#include <array>
#include <cstdint>
#include <span>

#include "absl/strings/string_view.h"
#include "common/appraisal/appraise.h"
#include "common/appraisal/finding_log.h"
#include "common/crypto/sha_batch.h"
#include "common/ima/entry.h"
#include "common/ima/replay.h"
#include "common/ima/template.h"
#include "common/tpm/pcr_values.h"

namespace cupel::appraisal {

// Judges entries in the order of the list. What it is given outlives it.
class EntryJudge {
 public:
  // `pcrs` are the values that boot_aggregate is computed from.
  EntryJudge(const Reference& reference, const tpm::PcrValues& pcrs,
             ByteOrder byte_order, FindingLog& log, EntryCounts& counts);

  // Judges each entry, by itself. Findings are authenticated only if they are
  // about an entry on one of the PCRs `covered`.
  // `sha1` are the SHA-1 digests of the entries' hashed data, one each, or
  // empty where nobody has them yet.
  void Judge(std::span<const ima::Entry> entries,
             std::span<const crypto::Sha1Value> sha1,
             const ima::PcrSet& covered);

  // True if the list's first entry or a kexec was among them, and behind the
  // last of these no file of Reference::ima_policies that its digest cleared,
  // where the reference asks for one.
  bool lacks_ima_policy() const { return lacks_ima_policy_; }

 private:
  struct Context;
  struct Group;

  void Decode(std::span<const ima::Entry> entries,
              std::span<const crypto::Sha1Value> sha1, Group& group);
  void JudgeGroup(const Group& group, const ima::PcrSet& covered);
  void JudgeEntry(const Context& context);
  bool CheckPcr(const Context& context);
  bool CheckTemplateDigest(const Context& context);
  bool IsTolerated(const Context& violation) const;
  bool IsImaPolicy(absl::string_view path) const;
  bool BeginKernel(const Context& context);
  void JudgeViolation(const Context& context);
  void ReportUnreadable(const Context& context);
  bool CheckDeny(const Context& context, const ima::EntryFields& fields);
  void JudgeBootAggregate(const Context& context,
                          const ima::EntryFields& fields, bool sound);
  void JudgeBuffer(const Context& context, const ima::EntryFields& fields,
                   bool sound);
  void JudgeFile(const Context& context, const ima::EntryFields& fields,
                 bool sound);
  void CountGood(bool sound) { counts_.good += sound ? 1 : 0; }
  void CountOther(const Context& context, Finding finding);
  void Report(const Context& context, Finding finding);

  const Reference& reference_;
  const tpm::PcrValues& pcrs_;
  ByteOrder byte_order_;
  FindingLog& log_;
  EntryCounts& counts_;
  ima::PcrSet odd_pcrs_;  // those already reported
  bool lacks_ima_policy_ = false;
};

}  // namespace cupel::appraisal

#endif  // CUPEL_COMMON_APPRAISAL_ENTRY_CHECKS_H_
