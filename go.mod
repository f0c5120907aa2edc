module github.com/tapedeck-dev/tapedeck

go 1.26
