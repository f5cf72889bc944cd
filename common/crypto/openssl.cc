#include "common/crypto/openssl.h"

#include <openssl/err.h>

#include "absl/strings/str_cat.h"

namespace cupel::crypto {

absl::Status OpensslError(absl::string_view what) {
  char text[256] = "no reason given";
  if (const unsigned long error = ERR_peek_last_error(); error != 0) {
    ERR_error_string_n(error, text, sizeof(text));
  }
  ERR_clear_error();
  return absl::InternalError(absl::StrCat(what, ": ", text));
}

}  // namespace cupel::crypto
