package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
)

// answer asks, and returns what is said. A signal says nothing, and neither does a script.
func answer(ctx context.Context, stdin io.Reader, stdout io.Writer, question string) string {
	fmt.Fprint(stdout, question)
	line := make(chan string, 1)
	go func() { // which ends with the process, if nothing is said
		text, _ := bufio.NewReader(stdin).ReadString('\n')
		line <- strings.TrimSpace(text)
	}()
	select {
	case text := <-line:
		return text
	case <-ctx.Done():
		fmt.Fprintln(stdout)
		return ""
	}
}
