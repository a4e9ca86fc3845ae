// Whole files, mapped files, and writing that leaves either the old file or the new one.

#include "io/file.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

#include "io/text.h"
#include "tests/io_files.h"

namespace dr::test {
namespace {

using Names = std::vector<std::string>;

TEST(File, ReadsWholeAndMapped) {
  Folder folder;
  std::string bytes(200'001, '\0');
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = char(i * 7 / 3);
  folder.write("a", bytes);
  EXPECT_EQ(read_file(folder.file("a"), bytes.size()), bytes);
  EXPECT_EQ(MappedFile(folder.file("a")).bytes(), bytes);
  folder.write("empty", "");
  EXPECT_EQ(read_file(folder.file("empty"), 0), "");
  EXPECT_EQ(MappedFile(folder.file("empty")).bytes(), "");
}

TEST(File, ReadsAPipe) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], "hello", 5), 5);
  close(ends[1]);
  const std::string path = "/proc/self/fd/" + std::to_string(ends[0]);
  EXPECT_EQ(read_file(path, 5), "hello");
  EXPECT_TRUE(holds(error_of([&] { MappedFile{path}; }), "not a regular file"));
  close(ends[0]);
}

TEST(File, RefusesWhatItCannotRead) {
  Folder folder;
  folder.write("long", "123456");
  EXPECT_EQ(error_of([&] { read_file(folder.file("long"), 5); }),
            folder.file("long") + ": has 6 B; accepted: up to 5 B");
  EXPECT_TRUE(holds(error_of([&] { read_file("/dev/zero", 1 << 20); }), "has more than 1.00 MiB"));
  EXPECT_EQ(error_of([&] { read_file(folder.path(), 5); }), folder.path() + ": is a folder, not a file");
  EXPECT_EQ(error_of([&] { MappedFile{folder.path()}; }), folder.path() + ": is a folder, not a file");
  for (const std::string& missing : {folder.file("missing"), folder.file("long/below")}) {
    EXPECT_TRUE(holds(error_of([&] { read_file(missing, 5); }), missing + ": cannot be read: "));
    EXPECT_TRUE(holds(error_of([&] { MappedFile{missing}; }), missing + ": cannot be read: "));
  }
}

TEST(AtomicFile, IsSeenWholeOrNotAtAll) {
  Folder folder;
  folder.write("a", "old");
  {
    AtomicFile file(folder.file("a"));
    file.write("new");
    EXPECT_EQ(folder.read("a"), "old");
    EXPECT_EQ(folder.names().size(), 2u);
    file.commit();
    EXPECT_EQ(folder.read("a"), "new");
    EXPECT_TRUE(holds(error_of([&] { file.write("more"); }), "is written no more"));
  }
  EXPECT_EQ(folder.names(), Names{"a"});
  { AtomicFile(folder.file("a")).write("never committed"); }
  EXPECT_EQ(folder.read("a"), "new");
  EXPECT_EQ(folder.names(), Names{"a"});
}

TEST(AtomicFile, TwoWritersDoNotMix) {
  Folder folder;
  AtomicFile first(folder.file("a")), second(folder.file("a"));
  first.write("first");
  second.write("second");
  second.commit();
  first.commit();
  EXPECT_EQ(folder.read("a"), "first");
  EXPECT_EQ(folder.names(), Names{"a"});
}

TEST(AtomicFile, FollowsALink) {
  Folder folder;
  folder.write("target", "old");
  ASSERT_EQ(symlink("target", folder.file("link").c_str()), 0);
  write_file(folder.file("link"), "new");
  EXPECT_EQ(folder.read("target"), "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder.file("link")));
}

TEST(AtomicFile, WritesToADeviceWithoutReplacingIt) {
  write_file("/dev/null", "nothing");
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  EXPECT_EQ(error_of([] { write_file("/dev/full", "x"); }), "/dev/full: cannot be written: No space left on device");
}

TEST(AtomicFile, TakesItsTurnInTheProgramsOwnOutput) {
  Folder folder;
  const std::string path = folder.file("out");
  std::fflush(stdout);
  const int before = dup(STDOUT_FILENO);
  std::FILE* out = std::fopen(path.c_str(), "wb");
  dup2(fileno(out), STDOUT_FILENO);
  std::printf("before, ");
  write_file(path, "the file, ");
  std::printf("after");
  std::fflush(stdout);
  dup2(before, STDOUT_FILENO);
  close(before);
  std::fclose(out);
  EXPECT_EQ(folder.read("out"), "before, the file, after");
}

TEST(AtomicFile, RefusesAFolderThatCannotBeWritten) {
  Folder folder;
  folder.write("file", "");
  EXPECT_EQ(error_of([&] { write_file(folder.file("file/below"), "x"); }),
            folder.file("file/below") + ": cannot be written: Not a directory");
  EXPECT_EQ(error_of([&] { write_file(folder.file("no/such"), "x"); }),
            folder.file("no/such") + ": cannot be written: there is no folder '" + folder.file("no") + "'");
  EXPECT_TRUE(holds(error_of([] { write_file("/proc/dreamroad", "x"); }), "/proc/dreamroad: cannot be written: "));
  EXPECT_EQ(error_of([&] { write_file(folder.path(), "x"); }),
            folder.path() + ": is a folder; accepted: the name of a file");
  EXPECT_EQ(error_of([&] { create_folder(folder.file("file/below")); }).substr(0, folder.path().size()), folder.path());
  EXPECT_EQ(error_of([&] { create_folder(folder.file("file")); }),
            folder.file("file") + ": the folder cannot be created: Not a directory");
  create_folder(folder.file("a/b/c"));
  create_folder(folder.file("a/b/c"));
  write_file(folder.file("a/b/c/file"), "x");
  EXPECT_EQ(folder.read("a/b/c/file"), "x");
}

// Files of this process end at so many bytes while one lives.
struct FileSizeLimit {
  explicit FileSizeLimit(rlim_t bytes) : handler(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before);
    const rlimit limit{bytes, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
  }
  void (*handler)(int);
  rlimit before;
};

TEST(AtomicFile, KeepsTheOldFileWhereTheNewOneDoesNotFit) {
  Folder folder;
  folder.write("a", "old");
  // One write is cut in the middle, one fails when the buffer is emptied at the end.
  for (size_t bytes : {size_t{1} << 20, size_t{5000}}) {
    const FileSizeLimit limit(4096);
    EXPECT_EQ(error_of([&] { write_file(folder.file("a"), std::string(bytes, 'x')); }),
              folder.file("a") + ": cannot be written: File too large");
  }
  EXPECT_EQ(folder.read("a"), "old");
  EXPECT_EQ(folder.names(), Names{"a"});
}

TEST(AtomicFile, KeepsTheOldFileOnAFullDisk) {
  Folder folder;
  create_folder(folder.file("disk"));
  const std::string disk = folder.file("disk");
  if (mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=64k") != 0)
    GTEST_SKIP() << "a file system of 64 KiB cannot be mounted here";
  write_file(disk + "/a", "old");
  const std::string line = error_of([&] { write_file(disk + "/a", std::string(1 << 20, 'x')); });
  const std::string content = read_file(disk + "/a", 100);
  const auto files = std::distance(std::filesystem::directory_iterator(disk), {});
  umount(disk.c_str());
  EXPECT_EQ(line, disk + "/a: cannot be written: No space left on device");
  EXPECT_EQ(content, "old");
  EXPECT_EQ(files, 1);
}

TEST(Text, IsFitForOneLine) {
  EXPECT_EQ(shown("plain, \"quoted\", gr\xc3\xbc\xc3\x9f"), "plain, \"quoted\", gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(shown("a\nb\x1b[31m\x7f"), "a\\x0ab\\x1b[31m\\x7f");
  EXPECT_EQ(shown("\xc2\x9b\xff"), "\\xc2\\x9b\\xff");
  EXPECT_EQ(shown(std::string(100, 'a')), std::string(80, 'a') + "...");
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(1234567), "1,234,567");
  EXPECT_EQ(byte_count(1023), "1023 B");
  EXPECT_EQ(byte_count(uint64_t{3} << 29), "1.50 GiB");
}

TEST(Text, KnowsUtf8) {
  for (const char* good :
       {"", "abc", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x9a\x97", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"})
    EXPECT_TRUE(is_utf8(good)) << shown(good);
  for (const char* bad : {"\x80", "\xc0\x80", "\xc3", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                          "\xf4\x90\x80\x80", "\xe2\x82", "\xf5\x80\x80\x80"})
    EXPECT_FALSE(is_utf8(bad)) << shown(bad);
}

}  // namespace
}  // namespace dr::test
