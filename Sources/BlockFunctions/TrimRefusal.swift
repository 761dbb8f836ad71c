import CLinux
import FunctionPluginKit
import Glibc
import LinuxDevices

/// What keeps nbdfuse from making holes by NBD's trim.
///
/// Whoever punches a hole into a file, or lets a disk unmap what it zeroes, is promised zeroes. Trim promises nothing:
/// qemu-storage-daemon offers it for every disk and drops it where the disk takes no discard. nbdfuse takes the one for the
/// other and has no option against it, so it is started with a library that answers for libnbd (`NBDWithoutTrim`). The loop
/// device's kernel then writes zeroes itself, or uses NBD's own command for zeroes, which is obeyed.
enum TrimRefusal {
  private static let library = "libiov-nbd-without-trim.so"

  /// nbdfuse's.
  static func environment() throws -> [String: String] {
    // The explanations of what went wrong go by its words.
    ["LC_ALL": "C", "LD_PRELOAD": try libraryPath()]
  }

  /// Beside this program, as it was built. A program that was replaced while it runs is still in its directory.
  private static func libraryPath() throws -> String {
    let program = SmallFile.linkTarget("/proc/self/exe") ?? ""
    let path = program.split(separator: "/").dropLast().map { "/" + $0 }.joined() + "/" + library
    guard access(path, R_OK) == 0 else {
      throw PluginError(
        .failedPrecondition,
        "\(path) cannot be read (\(SystemCallError.reason(errno))). Without it a disk of another host could show what "
          + "was cut out of it: put it there, beside the plugin, from where the plugin comes.")
    }
    return path
  }

  /// Throws unless the file that nbdfuse shows refuses holes. Asked for one behind its end: nothing is lost by the answer.
  static func check(_ file: String) throws {
    let opened = try FileDescriptor(opening: file, O_RDWR)
    let end = lseek(opened.number, 0, SEEK_END)
    guard end >= 0 else { throw SystemCallError("find the end of \(file)", errno: errno) }
    let result = iov_punch_hole(opened.number, UInt64(end), 4096)
    guard result == -EOPNOTSUPP else {
      let answer = result == 0 ? "made a hole" : SystemCallError.reason(-result)
      throw PluginError(
        .internalError,
        "\(NetworkDisk.program) should refuse to make holes in \(file) and says: \(answer). What was cut out of the disk "
          + "could come back, so it is not used. Is \(try libraryPath()) made for this machine?")
    }
  }
}
