import CLinux
import FunctionPluginKit
import Glibc
import LinuxDevices

/// What the programs that carry disks are started with, so that neither gives zeroes for data, or data for zeroes. They have no
/// options for either: a library that they load goes before those that they call (`Sources/DiskGuard`).
///
/// - nbdfuse makes no holes by NBD's trim. Whoever punches a hole into a file, or lets a disk unmap what it zeroes, is promised
///   zeroes; trim promises nothing, and qemu-storage-daemon drops it where the disk takes no discard. The loop device's kernel
///   then writes zeroes itself, or uses NBD's own command for zeroes, which is obeyed.
/// - qemu-storage-daemon ends when its disk is gone. Reads of a disk that was pulled end where they begin, and it would pad them
///   with zeroes.
enum DiskGuard {
  private static let library = "libiov-disk-guard.so"

  /// The programs' own.
  static func environment() throws -> [String: String] {
    // The explanations of what went wrong go by their words.
    ["LC_ALL": "C", "LD_PRELOAD": try libraryPath()]
  }

  /// Beside this program, as it was built. A program that was replaced while it runs is still in its directory.
  static func beside(_ name: String) -> String {
    let program = SmallFile.linkTarget("/proc/self/exe") ?? ""
    return program.split(separator: "/").dropLast().map { "/" + $0 }.joined() + "/" + name
  }

  private static func libraryPath() throws -> String {
    let path = beside(library)
    guard access(path, R_OK) == 0 else {
      throw PluginError(
        .failedPrecondition,
        "\(path) cannot be read (\(SystemCallError.reason(errno))). Without it disks could show zeroes for data, and data "
          + "for zeroes: put it there, beside the plugin, from where the plugin comes.")
    }
    return path
  }

  /// Throws unless the file that nbdfuse shows refuses holes. Asked for one behind its end: nothing is lost by the answer.
  static func checkRefusal(ofHolesIn file: String) throws {
    let opened = try FileDescriptor(opening: file, O_RDWR)
    let end = lseek(opened.number, 0, SEEK_END)
    guard end >= 0 else { throw SystemCallError("find the end of \(file)", errno: errno) }
    let result = iov_punch_hole(opened.number, UInt64(end), 4096)
    guard result == -EOPNOTSUPP else {
      let answer = result == 0 ? "made a hole" : SystemCallError.reason(-result)
      throw PluginError(
        .internalError,
        "\(FileClient.program) should refuse to make holes in \(file) and says: \(answer). What was cut out of the disk "
          + "could come back, so it is not used. Is \(try libraryPath()) made for this machine?")
    }
  }

  /// Throws unless a program has loaded the library: the loader goes on without one that it cannot use.
  static func checkLoaded(by process: ProcessHandle) throws {
    let maps = SmallFile.text("/proc/\(process.identity.pid)/maps") ?? ""
    guard maps.contains("/" + library) else {
      throw PluginError(
        .internalError,
        "\(StorageDaemon.program) has not loaded \(try libraryPath()): it could give zeroes for a disk that is gone. Is that "
          + "file made for this machine?")
    }
  }
}
