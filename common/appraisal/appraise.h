// The appraisal of one machine's evidence: a pure function, without I/O, clock
// or state of its own. The verifier calls it, and so does the tenant's offline
// `appraise`.
//
// The checks, in the order of the trust chain; each is one function in
// appraise.cc, entry_checks.cc or platform_checks.cc, and each adds findings
// of its own:
//
//   the quote     quote.*                    AK, signature, nonce, selection,
//                                            PCR values, signer
//   the boot      tpm.*                      counters and clock since the last
//   the PCRs      pcr.*, boot.*              banks in use, the boot rule
//   the list      ima.list_*, ima.pcr_*,     well-formed; the first prefix that
//                 ima.history_lost, ...      explains the quoted PCRs; the IMA
//                                            policy in it, where that is asked
//   each entry    ima.*                      of that prefix, by the policy
//
// A check that fails never hides the next one where both can be made. "Trusted"
// needs an explicit pass: a check that could not be made is a finding of
// severity kUndecided, and the verdict is kPass only without either kind.
#ifndef CUPEL_COMMON_APPRAISAL_APPRAISE_H_
#define CUPEL_COMMON_APPRAISAL_APPRAISE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/appraisal/finding.h"
#include "common/crypto/digest.h"
#include "common/ima/list_parser.h"
#include "common/ima/replay.h"
#include "common/policy/boot_rule.h"
#include "common/policy/compiled_policy.h"
#include "common/tpm/attest.h"
#include "common/tpm/pcr_selection.h"
#include "common/tpm/pcr_values.h"
#include "common/tpm/quote.h"

namespace cupel::appraisal {

// The measurement list in its binary form, whole or from an entry on. (A list
// that came as text: ima::AsciiList::binary().)
struct ListEvidence {
  std::span<const uint8_t> bytes;
  ByteOrder byte_order = ByteOrder::kLittle;
  size_t template_digest_size = 20;
  // The entry that `bytes` start with: 0, or Progress::entry_count.
  uint64_t first_entry = 0;
};

struct QuoteEvidence {
  std::span<const uint8_t> attest;     // TPMS_ATTEST
  std::span<const uint8_t> signature;  // TPMT_SIGNATURE
  // Set where the caller has had it verified by what the challenge says: then
  // it is not verified again, and the two above and the reported PCR values are
  // not looked at.
  const tpm::VerifiedQuote* verified = nullptr;
};

// What the machine (or its operator, offline) handed over. Aliased.
struct Evidence {
  ListEvidence list;
  std::optional<QuoteEvidence> quote;
  // As reported. With a quote they are believed only if its pcrDigest agrees;
  // without one they are what the operator vouches for.
  tpm::PcrValues pcrs;
};

// What the quote has to answer.
struct Challenge {
  const tpm::AttestationKey* ak = nullptr;  // never null beside a quote
  std::vector<uint8_t> qualifying_data;
  // What was asked for. nullopt, offline only: what the quote says it covers.
  std::optional<tpm::PcrSelection> selection;
  // The Name of the EK that the AK was enrolled under; empty, offline only,
  // where it is not known: then a notice says that the signer was not checked.
  std::vector<uint8_t> ek_name;
  // Offline only: take a bare public key, of which nobody knows whether it
  // signs nothing but what a TPM made. Without it that is undecided.
  bool accept_unknown_ak_attributes = false;
};

// How the machine's list is judged.
struct Reference {
  std::shared_ptr<const policy::CompiledPolicy> policy;  // never null
  policy::BootRule boot_rule;
  // Machines whose kernel extends a bank with padded SHA-1 digests.
  std::vector<crypto::HashAlgorithm> padded_sha1_banks;
  // Permission to rest on the SHA-1 bank, or on one filled with SHA-1 digests.
  bool allow_sha1_bank = false;
  // For TPM emulators without firmware: a bank whose PCR 0-7 are zero, and a
  // boot_aggregate of zeros, are notices instead of failures.
  bool lab = false;
  // An operator's choice for machines where violations are everyday business:
  // they become notices. Their zero digest clears nothing all the same.
  bool tolerate_violations = false;
  // The same for violations at paths that one of these patterns matches;
  // nullptr for none. No PCR covers the path in a violation's record: whoever
  // is root there can have any violation pass for one at such a path.
  std::shared_ptr<const policy::ExcludeSet> tolerated_violations = nullptr;
  // PCRs that the machine's IMA policy extends, beside PCR 10: their values
  // have to be those that the list gives them, also where it doesn't mention
  // them. A list from which every entry of a PCR was cut out can't be told
  // otherwise.
  ima::PcrSet list_pcrs;
  // Paths that the machine's IMA policy is loaded from, as the kernel writes
  // them (real ones, raw bytes, "_" for each space). The list has to show one
  // of them with a digest that `policy` lists, after each boot and each kexec,
  // as a rule for POLICY_CHECK has it measured. Empty: nothing is asked.
  std::vector<std::string> ima_policies = {};
};

// Of the entries judged, by what became of them; and of those beyond.
struct EntryCounts {
  uint64_t entries = 0;   // judged
  uint64_t good = 0;      // cleared by a digest or as boot_aggregate
  uint64_t excluded = 0;  // cleared by an exclude
  uint64_t not_in_policy = 0;
  uint64_t digest_mismatch = 0;
  uint64_t template_digest = 0;
  uint64_t violations = 0;
  uint64_t other_failures = 0;  // every other id
  uint64_t pending = 0;  // in the list, behind the prefix that was judged
  friend bool operator==(const EntryCounts&, const EntryCounts&) = default;
};

// Where an appraisal stands in a machine's list, to resume from. A value.
struct Progress {
  // ProgressKey of what it was made with. With any other key, and with an empty
  // one, the whole list is judged again; what is held against the machine's
  // history (prefix, tail, counters, PCRs of the boot) stays.
  std::string key;
  uint64_t entry_count = 0;
  uint64_t byte_offset = 0;
  // The PCRs after that prefix; nullopt at the start of a boot.
  std::optional<ima::Replayer> replayer;
  // Of the last quote that passed.
  std::optional<tpm::ClockInfo> clock_info;
  // PCR 0 to 9 as the quotes of this boot that passed have shown them.
  tpm::PcrValues boot_pcrs;
  // What followed the prefix and no quote has covered yet: the next list must
  // repeat it.
  uint64_t pending_size = 0;
  std::optional<crypto::Digest> pending_digest;  // SHA-256
  // Since when it has followed this prefix; the caller's to keep, as an
  // appraisal knows no time.
  std::optional<absl::Time> pending_since;
  // Of the entries of the prefix, nothing pending; whoever judged them.
  EntryCounts counts;
  // The PCRs that the machine's list has ever extended, whatever the boot. As
  // Reference::list_pcrs from then on.
  ima::PcrSet list_pcrs;
};

enum class Verdict : uint8_t {
  kPass,       // every check that applies was made and passed
  kFail,       // at least one failed
  kUndecided,  // none failed, but at least one could not be made
};

// How far the list is vouched for.
enum class Proof : uint8_t {
  kNone,  // no PCR value was given, or none explains the list
  kPcrs,  // PCR values that nobody signed explain it
  // A quote explains it, by a key of which nobody knows whether it signs only
  // what a TPM made.
  kQuoteOfBareKey,
  // A quote explains it, by a key whose attributes make it an attestation key.
  // That the key is in a TPM is for its enrolment to show.
  kQuote,
};

struct Appraisal {
  Verdict verdict = Verdict::kUndecided;
  Proof proof = Proof::kNone;
  std::vector<Finding> findings;  // in the order of the checks
  // Findings beyond Options::max_findings, counted but not kept.
  uint64_t findings_dropped = 0;
  // From the list's start, also where only its rest was judged.
  EntryCounts counts;
  // The bank that the list was replayed in, where PCR values were given.
  std::optional<crypto::HashAlgorithm> bank;
  // To resume from. Equal to what was passed in unless the verdict is kPass.
  Progress progress;
};

struct Options {
  // Findings about entries that are kept, beside the few about the evidence as
  // a whole. The counts are exact whatever it is.
  size_t max_findings = 10'000;
  // Called now and then with the number of entries worked off. May be empty.
  std::function<void(uint64_t)> on_progress;
};

// What judging a prefix depends on, as an opaque text: AK Name (empty without a
// quote), banks and padding, the policies in their order, the options of
// Reference that clear entries, whether any boot is allowed, ima_policies, and
// the version of the checks. Empty where it can't be told: a policy without a
// content id. (An AK without a Name, a bare public key, leaves no key either.)
std::string ProgressKey(std::span<const uint8_t> ak_name,
                        const Reference& reference,
                        std::vector<ima::Bank> banks);

// Appraises `evidence`. `challenge` is looked at only if there is a quote.
//
// Errors: kInvalidArgument where the arguments contradict each other (no
// policy, a quote without a key, a quote that was verified by something else
// than the challenge or not in every respect); kInternal if something threw,
// memory that ran out included. Whatever is wrong with the evidence is a
// finding.
absl::StatusOr<Appraisal> Appraise(const Evidence& evidence,
                                   const Challenge& challenge,
                                   const Reference& reference,
                                   const Progress& progress = {},
                                   const Options& options = {});

}  // namespace cupel::appraisal

#endif  // CUPEL_COMMON_APPRAISAL_APPRAISE_H_
