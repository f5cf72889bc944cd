#ifndef CUPEL_COMMON_IMA_LOAD_U32_H_
#define CUPEL_COMMON_IMA_LOAD_U32_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "common/util/byte_reader.h"

namespace cupel::ima {

inline constexpr size_t kU32Size = sizeof(uint32_t);

// The u32 in the four bytes at `at`, for the two loops that run once a record;
// everything else reads with ByteReader. The caller has checked that the bytes
// are there.
inline uint32_t LoadU32(const uint8_t* at, ByteOrder order) {
  uint32_t value;
  std::memcpy(&value, at, sizeof(value));
  const bool native_is_big = std::endian::native == std::endian::big;
  return (order == ByteOrder::kBig) == native_is_big ? value
                                                     : __builtin_bswap32(value);
}

}  // namespace cupel::ima

#endif  // CUPEL_COMMON_IMA_LOAD_U32_H_
