// The inner loop of a replay: SHA-256 of many short messages chained into a
// PCR, with their SHA-1 digests (docs/adr/0001-interleaved-replay.md).
#ifndef CUPEL_COMMON_CRYPTO_SHA_BATCH_H_
#define CUPEL_COMMON_CRYPTO_SHA_BATCH_H_

#include <array>
#include <cstdint>
#include <span>

namespace cupel::crypto {

using Sha1Value = std::array<uint8_t, 20>;
using Sha256Value = std::array<uint8_t, 32>;

// One extend: after = SHA-256(*before || value), where value is *fixed_value if
// that is given, else SHA-256(message).
struct Sha256Extend {
  std::span<const uint8_t> message;
  const Sha256Value* fixed_value = nullptr;
  // The PCR's value before. May be an earlier item's element of `after`: the
  // items are worked off in order.
  const Sha256Value* before = nullptr;
};

// Writes the PCR's value after each item; `after` has as many elements as
// `items`. So has `sha1`, unless it is empty: it gets the SHA-1 digest of each
// message, of those beside a fixed value too. No errors; may be called by any
// number of threads.
//
// Every extend waits for the one before, while the messages' digests depend on
// nothing: with SHA instructions (x86 SHA-NI, found at run time) a message's
// block is worked off, by both hashes, in the shadow of each block of the
// chain.
void Sha256HashAndExtend(std::span<const Sha256Extend> items,
                         std::span<Sha256Value> after,
                         std::span<Sha1Value> sha1 = {});

// The two implementations, for the test that compares them and the benchmark
// that shows both. The accelerated one may only be called where
// HasShaInstructions().
bool HasShaInstructions();
void Sha256HashAndExtendPortable(std::span<const Sha256Extend> items,
                                 std::span<Sha256Value> after,
                                 std::span<Sha1Value> sha1 = {});
void Sha256HashAndExtendAccelerated(std::span<const Sha256Extend> items,
                                    std::span<Sha256Value> after,
                                    std::span<Sha1Value> sha1 = {});

}  // namespace cupel::crypto

#endif  // CUPEL_COMMON_CRYPTO_SHA_BATCH_H_
