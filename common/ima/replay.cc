#include "common/ima/replay.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/ima/hashed_data.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::ima {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;
using ::cupel::crypto::Sha256Extend;
using ::cupel::crypto::Sha256Value;

// Entries whose intermediate values are kept at once.
constexpr size_t kBatchSize = 256;

// What the kernel extends a bank with for one entry.
Digest ExtendedValue(const Bank& bank, const Entry& entry,
                     std::span<const uint8_t> hashed) {
  if (entry.IsViolation()) return Digest::Filled(bank.algorithm, 0xff);
  if (bank.fill == BankFill::kOwnHash) {
    return crypto::Hash(bank.algorithm, hashed);
  }
  Digest padded(bank.algorithm);
  std::ranges::copy(crypto::Hash(HashAlgorithm::kSha1, hashed).bytes(),
                    padded.mutable_bytes().begin());
  return padded;
}

// The bytes that each entry's hash is over. Legacy entries have no such bytes
// in the list: theirs are made here.
class HashedBatch {
 public:
  explicit HashedBatch(std::span<const Entry> entries) : entries_(entries) {
    legacy_.resize(
        static_cast<size_t>(std::ranges::count_if(entries, &Entry::IsLegacy)));
    size_t used = 0;
    for (size_t i = 0; i < entries.size(); ++i) {
      data_[i] = entries[i].IsLegacy()
                     ? HashedTemplateData(entries[i], legacy_[used++])
                     : entries[i].template_data;
    }
  }
  std::span<const uint8_t> operator[](size_t i) const { return data_[i]; }

 private:
  std::span<const Entry> entries_;
  std::array<std::span<const uint8_t>, kBatchSize> data_;
  std::vector<LegacyTemplateBuffer> legacy_;
};

// The value of each entry's PCR after it, in one bank.
class BatchValues {
 public:
  explicit BatchValues(std::vector<Sha256Value> values)
      : sha256_(std::move(values)) {}
  explicit BatchValues(std::vector<Digest> values)
      : digests_(std::move(values)) {}

  std::span<const uint8_t> operator[](size_t i) const {
    if (!sha256_.empty()) return sha256_[i];
    return digests_[i].bytes();
  }

 private:
  // Of one kind: what the bank's replay makes.
  std::vector<Sha256Value> sha256_;
  std::vector<Digest> digests_;
};

BatchValues ReplaySha256(const std::array<Digest, kPcrCount>& start,
                         std::span<const Entry> entries,
                         const HashedBatch& hashed,
                         std::span<crypto::Sha1Value> sha1) {
  static const Sha256Value violation = [] {
    Sha256Value value;
    value.fill(0xff);
    return value;
  }();
  std::array<Sha256Value, kPcrCount> before;
  std::array<const Sha256Value*, kPcrCount> last;
  for (size_t pcr = 0; pcr < kPcrCount; ++pcr) {
    std::ranges::copy(start[pcr].bytes(), before[pcr].begin());
    last[pcr] = &before[pcr];
  }
  std::array<Sha256Extend, kBatchSize> items;
  std::vector<Sha256Value> after(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    items[i].message = hashed[i];
    items[i].fixed_value = entries[i].IsViolation() ? &violation : nullptr;
    items[i].before = std::exchange(last[entries[i].pcr], &after[i]);
  }
  crypto::Sha256HashAndExtend(std::span(items).first(entries.size()), after,
                              sha1);
  return BatchValues(std::move(after));
}

// Compares values of one bank; nearly all differ in the first bytes.
bool IsSame(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  return a[0] == b[0] && std::ranges::equal(a, b);
}

bool IsInterleaved(const Bank& bank) {
  return bank == Bank{HashAlgorithm::kSha256, BankFill::kOwnHash};
}

BatchValues ReplayBank(const Bank& bank,
                       const std::array<Digest, kPcrCount>& start,
                       std::span<const Entry> entries,
                       const HashedBatch& hashed) {
  std::array<Digest, kPcrCount> pcrs = start;
  std::vector<Digest> after;
  after.reserve(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    Digest& pcr = pcrs[entries[i].pcr];
    crypto::ExtendPcr(pcr, ExtendedValue(bank, entries[i], hashed[i]).bytes());
    after.push_back(pcr);
  }
  return BatchValues(std::move(after));
}

}  // namespace

ReplayTarget ReplayTarget::FromValues(std::vector<Value> values) {
  ReplayTarget target;
  target.values_ = std::move(values);
  return target;
}

ReplayTarget ReplayTarget::FromComposite(Digest composite,
                                         std::vector<Slot> slots) {
  ReplayTarget target;
  const auto live = std::ranges::find_if(
      slots,
      [](const ReplayTarget::Slot& slot) { return !slot.fixed.has_value(); });
  std::vector<uint8_t> fixed;
  for (auto slot = slots.begin(); slot != live; ++slot) {
    Append(fixed, slot->fixed->bytes());
  }
  target.composite_ = composite;
  target.fixed_.emplace(composite.algorithm(), fixed);
  target.slots_.assign(live, slots.end());
  return target;
}

absl::StatusOr<Replayer> Replayer::Create(std::vector<Bank> banks) {
  if (banks.empty()) {
    return absl::InvalidArgumentError("replay: no PCR bank was given");
  }
  for (size_t i = 0; i < banks.size(); ++i) {
    const absl::string_view name = HashAlgorithmName(banks[i].algorithm);
    if (!crypto::IsReplayBank(banks[i].algorithm)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "replay: bank ", name,
          " is not supported; sha1, sha256, sha384 and sha512 are"));
    }
    for (size_t j = 0; j < i; ++j) {
      if (banks[j].algorithm == banks[i].algorithm) {
        return absl::InvalidArgumentError(
            absl::StrCat("replay: bank ", name, " was given twice"));
      }
    }
  }
  return Replayer(std::move(banks));
}

absl::StatusOr<Replayer> Replayer::FromState(
    std::vector<Bank> banks, std::span<const ReplayTarget::Value> values) {
  CUPEL_ASSIGN_OR_RETURN(Replayer replayer, Create(std::move(banks)));
  std::vector<PcrSet> seen(replayer.banks_.size());
  for (const ReplayTarget::Value& value : values) {
    const size_t bank = replayer.BankIndex(value.bank);
    if (bank == seen.size() || value.pcr >= kPcrCount ||
        value.digest.algorithm() != value.bank || seen[bank][value.pcr]) {
      return absl::InvalidArgumentError(
          absl::StrCat("replay state: PCR ", value.pcr, " of bank ",
                       HashAlgorithmName(value.bank),
                       " is out of place, or was given twice"));
    }
    seen[bank].set(value.pcr);
    replayer.values_[bank][value.pcr] = value.digest;
  }
  for (const PcrSet& pcrs : seen) {
    if (pcrs != seen.front()) {
      return absl::InvalidArgumentError(
          "replay state: the banks have values of different PCRs");
    }
  }
  replayer.extended_ = seen.front();
  return replayer;
}

Replayer::Replayer(std::vector<Bank> banks) : banks_(std::move(banks)) {
  values_.reserve(banks_.size());
  for (const Bank& bank : banks_) {
    PcrValues zeros;
    zeros.fill(Digest(bank.algorithm));
    values_.push_back(zeros);
  }
}

size_t Replayer::BankIndex(HashAlgorithm bank) const {
  for (size_t i = 0; i < banks_.size(); ++i) {
    if (banks_[i].algorithm == bank) return i;
  }
  return banks_.size();
}

const Digest& Replayer::Value(HashAlgorithm bank, uint32_t pcr) const {
  const size_t index = BankIndex(bank);
  if (index == banks_.size() || pcr >= kPcrCount) std::abort();
  return values_[index][pcr];
}

bool Replayer::Explains(const ReplayTarget& target) const {
  if (target.composite_.has_value()) {
    absl::InlinedVector<uint8_t, 4 * crypto::kMaxDigestSize> rest;
    const auto append = [&](std::span<const uint8_t> value) {
      rest.insert(rest.end(), value.begin(), value.end());
    };
    for (const ReplayTarget::Slot& slot : target.slots_) {
      if (slot.fixed.has_value()) {
        append(slot.fixed->bytes());
      } else if (BankIndex(slot.bank) < banks_.size()) {
        append(Value(slot.bank, slot.pcr).bytes());
      } else {
        return false;
      }
    }
    return target.fixed_->HashWith(rest) == *target.composite_;
  }
  return !target.values_.empty() &&
         std::ranges::all_of(
             target.values_, [&](const ReplayTarget::Value& wanted) {
               return BankIndex(wanted.bank) < banks_.size() &&
                      Value(wanted.bank, wanted.pcr) == wanted.digest;
             });
}

void Replayer::Extend(std::span<const Entry> entries) {
  while (!entries.empty()) {
    const auto batch = entries.first(std::min(entries.size(), kBatchSize));
    entries = entries.subspan(batch.size());
    ExtendBatch(batch, nullptr, {});
  }
}

std::optional<size_t> Replayer::ExtendUntil(std::span<const Entry> entries,
                                            const ReplayTarget& target,
                                            std::span<crypto::Sha1Value> sha1) {
  size_t taken = 0;
  while (taken < entries.size()) {
    const size_t size = std::min(entries.size() - taken, kBatchSize);
    const auto found =
        ExtendBatch(entries.subspan(taken, size), &target,
                    sha1.empty() ? sha1 : sha1.subspan(taken, size));
    if (found.has_value()) return taken + *found;
    taken += size;
  }
  return std::nullopt;
}

std::optional<size_t> Replayer::ExtendBatch(std::span<const Entry> entries,
                                            const ReplayTarget* target,
                                            std::span<crypto::Sha1Value> sha1) {
  const HashedBatch hashed(entries);
  std::vector<BatchValues> after;
  after.reserve(banks_.size());
  bool sha1_done = sha1.empty();
  for (size_t b = 0; b < banks_.size(); ++b) {
    if (IsInterleaved(banks_[b])) {
      after.push_back(ReplaySha256(values_[b], entries, hashed, sha1));
      sha1_done = true;
    } else {
      after.push_back(ReplayBank(banks_[b], values_[b], entries, hashed));
    }
  }
  for (size_t i = 0; i < entries.size() && !sha1_done; ++i) {
    std::ranges::copy(crypto::Hash(HashAlgorithm::kSha1, hashed[i]).bytes(),
                      sha1[i].begin());
  }

  // The state is brought up to date only where it is looked at.
  size_t applied = 0;
  const auto apply_up_to = [&](size_t end) {
    std::array<size_t, kPcrCount> last;
    PcrSet changed;
    for (; applied < end; ++applied) {
      last[entries[applied].pcr] = applied;
      changed.set(entries[applied].pcr);
    }
    for (size_t pcr = 0; pcr < kPcrCount; ++pcr) {
      for (size_t b = 0; b < banks_.size() && changed.test(pcr); ++b) {
        std::ranges::copy(after[b][last[pcr]],
                          values_[b][pcr].mutable_bytes().begin());
      }
    }
    extended_ |= changed;
  };
  if (target == nullptr) {
    apply_up_to(entries.size());
    return std::nullopt;
  }

  // A value that was wrong before becomes right only with an entry on its PCR:
  // one comparison rules most entries out.
  const bool always = target->composite_.has_value() || Explains(*target);
  struct Watched {
    std::span<const uint8_t> wanted;  // empty: nothing is wanted
    const BatchValues* values = nullptr;
  };
  std::array<Watched, kPcrCount> watched;
  for (const ReplayTarget::Value& wanted : target->values_) {
    const size_t bank = BankIndex(wanted.bank);
    if (bank == banks_.size() || wanted.pcr >= kPcrCount ||
        wanted.digest.algorithm() != wanted.bank) {
      continue;
    }
    watched[wanted.pcr] = {wanted.digest.bytes(), &after[bank]};
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    const Watched& watch = watched[entries[i].pcr];
    if (!always &&
        (watch.wanted.empty() || !IsSame((*watch.values)[i], watch.wanted))) {
      continue;
    }
    apply_up_to(i + 1);
    if (Explains(*target)) return i + 1;
  }
  apply_up_to(entries.size());
  return std::nullopt;
}

}  // namespace cupel::ima
