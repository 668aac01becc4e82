// The wire format of the shell's ledger, which is that of the records on the host's disk.

extension LedgerFrame {
    /// As the shell's ledger reads it: lines of `key=value`, closed by a line `end`. Values are percent-encoded, as they are
    /// stored; what the shell has to have as it is comes for its `printf %b` as well, or only so where it is never stored.
    var record: [UInt8] {
        var text = ""
        let words = all("arg")
        if !words.isEmpty { text += "script=\(percentEncoded(Array(words.joined(separator: [0]))))\n" }
        for (key, value) in pairs {
            switch key {
            case "arg", "stdin": text += "\(key)=\(backslashEncoded(value))\n"
            case "env":
                let name = value.prefix { $0 != UInt8(ascii: "=") }
                text += "env=\(percentEncoded(Array(name)))=\(backslashEncoded(value.dropFirst(name.count + 1)))\n"
            case "script", "directory", "resource": text += "\(key)=\(percentEncoded(value))\n\(key)b=\(backslashEncoded(value))\n"
            default: text += "\(key)=\(percentEncoded(value))\n"
            }
        }
        return Array((text + "end\n").utf8)
    }

    /// - Returns: the frame, whose items are frames of their own, and how many raw bytes follow; nil where it is no record.
    static func parse(record lines: [ArraySlice<UInt8>]) -> (frame: LedgerFrame, following: Int?)? {
        var frame = LedgerFrame()
        var items: [(number: Substring, frame: LedgerFrame)] = []
        for line in lines {
            guard let equals = line.firstIndex(of: UInt8(ascii: "=")), let value = percentDecoded(line[(equals + 1)...]) else { return nil }
            let key = String(decoding: line[..<equals], as: UTF8.self)
            let words = key.split(separator: ".", maxSplits: 2)
            guard words.count == 3, words[0] == "item" else {
                frame.add(key, value)
                continue
            }
            if items.last?.number != words[1] { items.append((words[1], LedgerFrame())) }
            items[items.count - 1].frame.add(String(words[2]), value)
        }
        for item in items { frame.add("item", Array(item.frame.encoded.dropFirst(4))) }
        return (frame, frame.integer("bytes"))
    }
}

/// As perl's ledger writes records: all but printable ASCII, and `%`.
private func percentEncoded(_ bytes: [UInt8]) -> String {
    var text: [UInt8] = []
    for byte in bytes {
        if (0x20...0x7e).contains(byte), byte != UInt8(ascii: "%") {
            text.append(byte)
        } else {
            text += [UInt8(ascii: "%"), hexDigit(byte >> 4), hexDigit(byte & 15)]
        }
    }
    return String(decoding: text, as: UTF8.self)
}

private func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? 48 + value : 55 + value }

private func percentDecoded(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    var bytes: [UInt8] = []
    var position = text.startIndex
    while position < text.endIndex {
        guard text[position] == UInt8(ascii: "%") else {
            bytes.append(text[position])
            position += 1
            continue
        }
        let digits = text[(position + 1)...].prefix(2)
        guard digits.count == 2, let byte = UInt8(String(decoding: digits, as: UTF8.self), radix: 16) else { return nil }
        bytes.append(byte)
        position += 3
    }
    return bytes
}

/// For `printf %b`: octal for whatever could mean something there, or to `read`.
private func backslashEncoded(_ bytes: some Sequence<UInt8>) -> String {
    var text: [UInt8] = []
    for byte in bytes {
        if (0x20...0x7e).contains(byte), byte != UInt8(ascii: "\\") {
            text.append(byte)
        } else {
            text += [UInt8(ascii: "\\"), 48, 48 + (byte >> 6), 48 + (byte >> 3 & 7), 48 + (byte & 7)]
        }
    }
    return String(decoding: text, as: UTF8.self)
}
