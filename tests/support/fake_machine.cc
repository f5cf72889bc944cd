#include "tests/support/fake_machine.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace cupel::testing {

absl::StatusOr<uint64_t> MemoryList::EntryCount() {
  const std::lock_guard lock(mutex_);
  if (!error_.ok()) return error_;
  return count_;
}

absl::StatusOr<std::vector<uint8_t>> MemoryList::ReadFrom(uint64_t offset,
                                                          size_t max_size) {
  const std::lock_guard lock(mutex_);
  if (!error_.ok()) return error_;
  ++read_count_;
  largest_read_ = std::max(largest_read_, max_size);
  if (offset >= bytes_.size()) return std::vector<uint8_t>();
  const auto rest = std::span<const uint8_t>(bytes_).subspan(offset);
  const auto piece = rest.first(std::min(max_size, rest.size()));
  return std::vector<uint8_t>(piece.begin(), piece.end());
}

void MemoryList::Add(uint64_t count, size_t size, uint8_t fill) {
  const std::lock_guard lock(mutex_);
  count_ += count;
  bytes_.insert(bytes_.end(), count * size, fill);
}

void MemoryList::Clear() {
  const std::lock_guard lock(mutex_);
  count_ = 0;
  bytes_.clear();
}

void MemoryList::SetError(absl::Status error) {
  const std::lock_guard lock(mutex_);
  error_ = std::move(error);
}

std::vector<uint8_t> MemoryList::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

size_t MemoryList::largest_read() const {
  const std::lock_guard lock(mutex_);
  return largest_read_;
}

size_t MemoryList::read_count() const {
  const std::lock_guard lock(mutex_);
  return read_count_;
}

FakeQuoter::FakeQuoter() {
  for (uint32_t pcr = 0; pcr <= 10; ++pcr) {
    const auto value = crypto::Digest::Filled(crypto::HashAlgorithm::kSha256,
                                              static_cast<uint8_t>(pcr + 1));
    if (!tpm_.pcrs.Set(pcr, value).ok()) std::abort();
  }
}

absl::StatusOr<agent::QuoteResult> FakeQuoter::Quote(
    std::span<const uint8_t> qualifying_data,
    const tpm::PcrSelection& selection) {
  const std::lock_guard lock(mutex_);
  if (!error_.ok()) return error_;
  ++quote_count_;
  FakeQuote quote = tpm_.Quote(selection, qualifying_data);
  return agent::QuoteResult{.attest = std::move(quote.attest),
                            .signature = std::move(quote.signature),
                            .pcrs = tpm_.pcrs.Only(selection)};
}

void FakeQuoter::SetError(absl::Status error) {
  const std::lock_guard lock(mutex_);
  error_ = std::move(error);
}

size_t FakeQuoter::quote_count() const {
  const std::lock_guard lock(mutex_);
  return quote_count_;
}

}  // namespace cupel::testing
