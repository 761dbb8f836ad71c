import Fuzzing
import Glibc

// libFuzzer's own program finds its target by a symbol; this one finds it by name, so that one build serves all.
//
//   iov-fuzzer TARGET [LIBFUZZER-ARGUMENT...]

/// Runs libFuzzer (its FuzzerInterface.h); answers the exit code.
@_silgen_name("LLVMFuzzerRunDriver")
func runFuzzer(
  _ argumentCount: UnsafeMutablePointer<CInt>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
  _ run: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

let chosen = CommandLine.arguments.dropFirst().first.flatMap(FuzzTarget.init(rawValue:))
guard chosen != nil else {
  print("usage: iov-fuzzer TARGET [LIBFUZZER-ARGUMENT...]; targets:")
  for target in FuzzTarget.allCases { print("  \(target.rawValue)") }
  exit(64)
}

// libFuzzer sees the arguments without the target's name.
var arguments = CommandLine.unsafeArgv + 1
arguments[0] = CommandLine.unsafeArgv[0]
var argumentCount = CommandLine.argc - 1
exit(
  runFuzzer(&argumentCount, &arguments) { bytes, count in
    chosen?.run(UnsafeRawBufferPointer(start: bytes, count: count))
    return 0
  })
