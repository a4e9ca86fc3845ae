// Runs every test and ends with the one line that scripts read.
// REQUIRE_GPU=1 turns skipped tests into failures; TOL_SCALE scales every tolerance (0 prints true residuals).

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  int status = RUN_ALL_TESTS();
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  const char* require = std::getenv("REQUIRE_GPU");
  if (require && require[0] == '1' && all.skipped_test_count() > 0) status = 1;
  if (all.test_to_run_count() == 0) {
    std::fprintf(stderr, "no test matches\n");
    status = 1;
  }
  std::printf("%d passed, %d failed, %d skipped\n", all.successful_test_count(), all.failed_test_count(),
              all.skipped_test_count());
  return status;
}
