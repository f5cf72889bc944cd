// Replays measurement lists into PCR values.
//
// Trust: a list is the machine's word until a replay reaches a PCR value that a
// verified quote vouches for; then its template data is what the kernel
// measured, in this order and without a gap.
//
// Source: Linux security/integrity/ima/ima_queue.c (ima_add_template_entry,
// ima_pcr_extend) and ima_crypto.c (ima_calc_field_array_hash_tfm). Per bank,
// PCR = H(PCR || H(template data)); for a violation 0xff bytes take the place
// of the digest.
#ifndef CUPEL_COMMON_IMA_REPLAY_H_
#define CUPEL_COMMON_IMA_REPLAY_H_

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/crypto/digest.h"
#include "common/crypto/sha_batch.h"
#include "common/ima/entry.h"

namespace cupel::ima {

using PcrSet = std::bitset<kPcrCount>;

// How the kernel fills a bank. A property of the machine, stated by whoever
// knows it; never found out by trying.
enum class BankFill : uint8_t {
  // The bank's own hash of the template data: Linux 5.8 and later, where the
  // kernel has the bank's hash when IMA starts.
  kOwnHash,
  // The SHA-1 template digest, zero-padded: older kernels, and banks whose hash
  // is a module. As weak as SHA-1.
  kPaddedSha1,
};

struct Bank {
  crypto::HashAlgorithm algorithm = crypto::HashAlgorithm::kSha256;
  BankFill fill = BankFill::kOwnHash;
  friend bool operator==(const Bank&, const Bank&) = default;
};

// What a replay has to reach.
class ReplayTarget {
 public:
  struct Value {
    crypto::HashAlgorithm bank = crypto::HashAlgorithm::kSha256;
    uint32_t pcr = kImaPcr;  // below kPcrCount
    crypto::Digest digest;
  };
  // A PCR of the quote's selection; without `fixed` it is one that the list
  // extends, and the replayed value stands in.
  struct Slot {
    crypto::HashAlgorithm bank = crypto::HashAlgorithm::kSha256;
    uint32_t pcr = kImaPcr;  // below kPcrCount
    std::optional<crypto::Digest> fixed;
  };

  // Explained by a state in which every one of these PCRs has its value; a PCR
  // that no entry has extended has the value zero. Give every PCR that the list
  // extends anywhere: a PCR left out is a PCR whose entries nothing vouches
  // for.
  static ReplayTarget FromValues(std::vector<Value> values);

  // Explained by a state whose composite, `hash` over the slots' values in
  // their order, is `composite`: a quote's pcrDigest (TPM 2.0 Part 1, 17.5).
  static ReplayTarget FromComposite(crypto::Digest composite,
                                    std::vector<Slot> slots);

 private:
  friend class Replayer;
  ReplayTarget() = default;

  std::vector<Value> values_;
  std::optional<crypto::Digest> composite_;
  // The slots that the list extends, and whatever stands behind the first of
  // them.
  std::vector<Slot> slots_;
  // Those before: the same for every state, so they are hashed once.
  std::optional<crypto::HashPrefix> fixed_;
};

// Carries the PCRs of one or more banks through a list. A value type: a copy is
// a resumption point. Not thread-safe.
class Replayer {
 public:
  // PCRs are zero at first. kInvalidArgument for no bank, a bank given twice,
  // or a bank that is not SHA-1, SHA-256, SHA-384 or SHA-512.
  static absl::StatusOr<Replayer> Create(std::vector<Bank> banks);

  // The state that a replay has reached: each PCR that occurs in `values`
  // counts as extended and has that value, every other one is zero. For a
  // replay that is resumed from a store. kInvalidArgument as Create, and unless
  // every such PCR has exactly one value in each bank, and none in another.
  static absl::StatusOr<Replayer> FromState(
      std::vector<Bank> banks, std::span<const ReplayTarget::Value> values);

  // Extends with every entry, in order.
  void Extend(std::span<const Entry> entries);

  // Extends with entries up to the first one after which `target` is explained.
  // Returns how many were taken, or nullopt if all were and none explains it.
  // The state before the first entry is not looked at: ask Explains.
  //
  // `sha1`, unless it is empty, has as many elements as `entries`, and gets the
  // SHA-1 digests of their hashed data at next to no cost where SHA-256 is
  // replayed too: what the digest column should show.
  std::optional<size_t> ExtendUntil(std::span<const Entry> entries,
                                    const ReplayTarget& target,
                                    std::span<crypto::Sha1Value> sha1 = {});

  // True if the present state explains `target`.
  bool Explains(const ReplayTarget& target) const;

  // The value of `pcr` in the bank of this algorithm; zero if no entry extended
  // it. The bank must be one of banks(), and `pcr` below kPcrCount.
  const crypto::Digest& Value(crypto::HashAlgorithm bank, uint32_t pcr) const;

  std::span<const Bank> banks() const { return banks_; }
  // The PCRs that entries have extended.
  PcrSet extended_pcrs() const { return extended_; }

 private:
  using PcrValues = std::array<crypto::Digest, kPcrCount>;

  explicit Replayer(std::vector<Bank> banks);

  std::optional<size_t> ExtendBatch(std::span<const Entry> entries,
                                    const ReplayTarget* target,
                                    std::span<crypto::Sha1Value> sha1);
  size_t BankIndex(crypto::HashAlgorithm bank) const;

  std::vector<Bank> banks_;
  std::vector<PcrValues> values_;  // one element a bank
  PcrSet extended_;
};

}  // namespace cupel::ima

#endif  // CUPEL_COMMON_IMA_REPLAY_H_
