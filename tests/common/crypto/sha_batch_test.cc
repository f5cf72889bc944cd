#include "common/crypto/sha_batch.h"

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "catch2/catch.hpp"
#include "common/crypto/digest.h"

namespace cupel::crypto {
namespace {

std::vector<uint8_t> Bytes(size_t size, std::mt19937& random) {
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

// What the functions have to compute, by the general hash.
std::vector<Sha256Value> Reference(std::span<const Sha256Extend> items,
                                   const std::vector<const Sha256Value*>& prev,
                                   std::span<Sha256Value> after) {
  for (size_t i = 0; i < items.size(); ++i) {
    Digest value = Hash(HashAlgorithm::kSha256, items[i].message);
    if (items[i].fixed_value != nullptr) {
      std::ranges::copy(*items[i].fixed_value, value.mutable_bytes().begin());
    }
    const Digest result =
        Hash(HashAlgorithm::kSha256, {*prev[i], value.bytes()});
    std::ranges::copy(result.bytes(), after[i].begin());
  }
  return {after.begin(), after.end()};
}

// Items over `messages`; every `fixed_every`-th has a fixed value, and every
// `other_every`-th extends a second PCR.
struct Batch {
  Batch(const std::vector<std::vector<uint8_t>>& messages, size_t fixed_every,
        size_t other_every)
      : items(messages.size()), after(messages.size()) {
    fixed.fill(0xff);
    start[0].fill(0);
    start[1].fill(0x5a);
    const Sha256Value* last[2] = {&start[0], &start[1]};
    for (size_t i = 0; i < messages.size(); ++i) {
      const size_t chain = i % other_every == other_every - 1 ? 1 : 0;
      items[i].message = messages[i];
      if (i % fixed_every == fixed_every - 1) items[i].fixed_value = &fixed;
      items[i].before = last[chain];
      last[chain] = &after[i];
      prev.push_back(items[i].before);
    }
  }
  std::vector<Sha256Value> Expected() { return Reference(items, prev, after); }

  Sha256Value fixed;
  Sha256Value start[2];
  std::vector<Sha256Extend> items;
  std::vector<const Sha256Value*> prev;
  std::vector<Sha256Value> after;
};

using Function = void (*)(std::span<const Sha256Extend>, std::span<Sha256Value>,
                          std::span<Sha1Value>);

std::vector<Function> Functions() {
  std::vector<Function> all = {Sha256HashAndExtend,
                               Sha256HashAndExtendPortable};
  if (HasShaInstructions()) {
    all.push_back(Sha256HashAndExtendAccelerated);
  } else {
    WARN("no SHA instructions here: the accelerated path is not tested");
  }
  return all;
}

// Every implementation, with the SHA-1 digests and without them.
void CheckAll(Batch& batch) {
  const auto expected = batch.Expected();
  for (const Function function : Functions()) {
    std::ranges::fill(batch.after, Sha256Value{});
    function(batch.items, batch.after, {});
    CHECK(batch.after == expected);

    std::ranges::fill(batch.after, Sha256Value{});
    std::vector<Sha1Value> sha1(batch.items.size());
    function(batch.items, batch.after, sha1);
    CHECK(batch.after == expected);
    for (size_t i = 0; i < sha1.size(); ++i) {
      CHECK(std::ranges::equal(
          sha1[i], Hash(HashAlgorithm::kSha1, batch.items[i].message).bytes()));
    }
  }
}

TEST_CASE("every message size up to five blocks is hashed and extended",
          "[crypto]") {
  std::mt19937 random(1);
  for (size_t size = 0; size <= 320; ++size) {
    CAPTURE(size);
    // Exactly as large as the message: a read past its end is an error under
    // AddressSanitizer.
    const std::vector<std::vector<uint8_t>> messages = {
        Bytes(size, random), Bytes(3, random), Bytes(size, random)};
    Batch batch(messages, 100, 100);
    CheckAll(batch);
  }
}

TEST_CASE("random batches agree with the general hash", "[crypto]") {
  std::mt19937 random(2);
  for (int round = 0; round < 40; ++round) {
    CAPTURE(round);
    std::vector<std::vector<uint8_t>> messages(random() % 300);
    for (auto& message : messages) {
      // Now and then a long one, so that the lanes drift apart.
      message =
          Bytes(random() % 8 == 0 ? random() % 5000 : random() % 160, random);
    }
    Batch batch(messages, 1 + random() % 9, 1 + random() % 9);
    CheckAll(batch);
  }
}

}  // namespace
}  // namespace cupel::crypto
