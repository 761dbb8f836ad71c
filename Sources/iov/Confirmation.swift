import ArgumentParser
import Glibc

/// Leave to do what cannot be undone.
struct ConfirmationOptions: ParsableArguments {
  @Flag(name: .shortAndLong, help: "Do not ask for confirmation.") var yes = false

  /// Shows what would happen, and returns once a person has typed `word` on the terminal. Without a terminal nobody can
  /// be asked: it takes --yes then.
  func confirm(typing word: String, _ consequences: [String]) throws {
    for line in consequences { printToStandardError(line) }
    guard !yes else { return }
    guard isatty(STDIN_FILENO) == 1 else {
      printToStandardError("iov: nothing was done: there is no terminal to ask for confirmation on; give --yes")
      throw ExitCode.refused
    }
    printToStandardError("\nType \(word) to go on, anything else to leave it as it is:")
    guard readLine()?.trimmed == word else {
      printToStandardError("iov: nothing was done")
      throw ExitCode.refused
    }
  }
}

extension String {
  fileprivate var trimmed: String {
    let start = drop { $0.isWhitespace }
    return String(start.prefix { !$0.isWhitespace })
  }
}
