import ArgumentParser
import Glibc
import Services

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// How one object is printed.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
  case table, json, yaml

  /// Prints the answer as programs read it, or what `people` prints.
  func show(_ answer: some Encodable, people: () -> Void) {
    switch self {
    case .table: people()
    case .json: printJSON(answer)
    case .yaml: printYAML(answer)
    }
  }
}

/// How a list is printed.
enum ListFormat: String, ExpressibleByArgument, CaseIterable {
  case table, json, yaml, name

  /// `names`: what other commands take, one a line.
  func show(_ answer: some Encodable, names: [String], table rows: [[String]]) {
    switch self {
    case .table: printTable(rows)
    case .json: printJSON(answer)
    case .yaml: printYAML(answer)
    case .name: for name in names { print(name) }
    }
  }
}

func printJSON(_ value: some Encodable, onOneLine: Bool = false) {
  let encoder = JSONEncoder()
  encoder.outputFormatting =
    onOneLine ? [.sortedKeys, .withoutEscapingSlashes] : [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  do {
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
  } catch {
    printToStandardError("iov: cannot print the answer as JSON: \(error)")
  }
}

func printYAML(_ value: some Encodable) {
  do {
    print(try YAMLEmitter.document(JSONTree(value)), terminator: "")
  } catch {
    printToStandardError("iov: cannot print the answer as YAML: \(error)")
  }
}

/// Has what was printed reach a reader at the other end of a pipe now, not when a buffer is full.
func flushOutput() { fflush(nil) }

/// Messages and progress, beside the output proper.
func printToStandardError(_ line: String) {
  var bytes = Array((line + "\n").utf8)[...]
  while !bytes.isEmpty {
    let written = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    // Nobody is there to be told that standard error is closed.
    guard written > 0 else { return }
    bytes = bytes.dropFirst(written)
  }
}
