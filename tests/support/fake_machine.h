// What an agent's attester looks at, in memory: a TPM that quotes and a
// measurement list.
#ifndef CUPEL_TESTS_SUPPORT_FAKE_MACHINE_H_
#define CUPEL_TESTS_SUPPORT_FAKE_MACHINE_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/attester/list_source.h"
#include "agent/attester/quoter.h"
#include "tests/support/fake_tpm.h"

namespace cupel::testing {

// A list whose entries are bytes of no meaning. Threads: any.
class MemoryList : public agent::ListSource {
 public:
  absl::StatusOr<uint64_t> EntryCount() override;
  absl::StatusOr<std::vector<uint8_t>> ReadFrom(uint64_t offset,
                                                size_t max_size) override;

  // Adds `count` entries of `size` bytes each, all of them `fill`.
  void Add(uint64_t count, size_t size = 1, uint8_t fill = 0xab);
  // As after a restart of whatever keeps the list.
  void Clear();
  // What both functions answer from now on; OK: the list.
  void SetError(absl::Status error);

  std::vector<uint8_t> bytes() const;
  // The most that was asked for at once, and how often anything was.
  size_t largest_read() const;
  size_t read_count() const;

 private:
  mutable std::mutex mutex_;
  uint64_t count_ = 0;
  std::vector<uint8_t> bytes_;
  absl::Status error_;
  size_t largest_read_ = 0;
  size_t read_count_ = 0;
};

// A FakeTpm behind the attester's interface. Threads: any.
class FakeQuoter : public agent::Quoter {
 public:
  // With values for PCR 0 to 10 in the bank sha256.
  FakeQuoter();

  absl::StatusOr<agent::QuoteResult> Quote(
      std::span<const uint8_t> qualifying_data,
      const tpm::PcrSelection& selection) override;

  const FakeTpm& tpm() const { return tpm_; }
  // What Quote answers from now on; OK: quotes.
  void SetError(absl::Status error);
  size_t quote_count() const;

 private:
  FakeTpm tpm_;
  mutable std::mutex mutex_;
  absl::Status error_;
  size_t quote_count_ = 0;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_FAKE_MACHINE_H_
