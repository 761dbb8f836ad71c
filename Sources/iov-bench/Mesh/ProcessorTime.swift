import Foundation
import Glibc

/// Nanoseconds of a clock that only goes forward.
func monotonicNanoseconds() -> UInt64 { nanoseconds(CLOCK_MONOTONIC) }

/// Seconds since a moment of that clock.
func secondsSince(_ begun: UInt64) -> Double { Double(monotonicNanoseconds() - begun) / 1e9 }

/// Processor time that this process has used, in seconds.
func ownProcessorSeconds() -> Double { Double(nanoseconds(CLOCK_PROCESS_CPUTIME_ID)) / 1e9 }

/// Processor time that this thread has used, in nanoseconds: what else runs on the machine is not in it.
func threadNanoseconds() -> UInt64 { nanoseconds(CLOCK_THREAD_CPUTIME_ID) }

private func nanoseconds(_ clock: clockid_t) -> UInt64 {
  var time = timespec()
  clock_gettime(clock, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Another process on this machine, as `/proc` shows it (proc(5)).
struct ObservedProcess: Sendable {
  let id: Int32

  static var own: ObservedProcess { ObservedProcess(id: getpid()) }

  /// User and system time, in seconds; nil if there is no such process.
  var processorSeconds: Double? {
    guard let text = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8),
      let nameEnd = text.lastIndex(of: ")")
    else { return nil }
    let fields = text[nameEnd...].split(separator: " ")
    // utime and stime are fields 14 and 15, the name is field 2.
    guard fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) else { return nil }
    return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
  }

  /// Memory that is in use, in KiB; nil if there is no such process.
  var residentKibibytes: Int? { kibibytes("VmRSS:") }

  /// The most that it ever had in use, in KiB; nil if there is no such process.
  var peakKibibytes: Int? { kibibytes("VmHWM:") }

  private func kibibytes(_ field: String) -> Int? {
    guard let text = try? String(contentsOfFile: "/proc/\(id)/status", encoding: .utf8) else { return nil }
    let line = text.split(separator: "\n").first { $0.hasPrefix(field) }
    return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) }
  }
}
